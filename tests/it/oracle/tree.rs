//! The node tree that `debug_print_rewritten` prints, read back into values.

use std::collections::BTreeMap;

/// A node tree as `debug_print_rewritten` prints it.
#[derive(Debug)]
pub(super) enum Tree {
    Atom(String),
    List(Vec<Tree>),
    Node(String, BTreeMap<String, Tree>),
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// A token up to white space or a bracket; a backslash takes the next byte as it is.
    fn token(&mut self) -> String {
        let mut token = Vec::new();
        while self.at < self.text.len() && !self.peek().is_ascii_whitespace() && !b"(){}".contains(&self.peek()) {
            if self.peek() == b'\\' {
                self.at += 1;
            }
            token.push(self.peek());
            self.at += 1;
        }
        String::from_utf8_lossy(&token).into_owned()
    }

    fn value(&mut self) -> Tree {
        self.space();
        match self.peek() {
            b'{' => self.node(),
            b'(' => {
                self.at += 1;
                let mut list = Vec::new();
                loop {
                    self.space();
                    if self.peek() == b')' || self.peek() == 0 {
                        self.at += 1;
                        return Tree::List(list);
                    }
                    list.push(self.value());
                }
            }
            _ => Tree::Atom(self.token()),
        }
    }

    fn node(&mut self) -> Tree {
        self.at += 1;
        let name = self.token();
        let mut fields = BTreeMap::new();
        loop {
            self.space();
            match self.peek() {
                b'}' | 0 => {
                    self.at += 1;
                    return Tree::Node(name, fields);
                }
                b':' => {
                    let field = self.token();
                    let value = self.value();
                    fields.insert(field.trim_start_matches(':').to_owned(), value);
                }
                // A constant's bytes follow its length: `4 [ 1 0 0 0 ]`.
                _ => drop(self.value()),
            }
        }
    }
}

impl Tree {
    pub(super) fn read(text: &str) -> Self {
        Reader { text: text.as_bytes(), at: 0 }.value()
    }

    pub(super) fn field(&self, name: &str) -> &Tree {
        match self {
            Self::Node(_, fields) => fields.get(name).unwrap_or(&NOTHING),
            _ => &NOTHING,
        }
    }

    pub(super) fn number(&self, name: &str) -> i64 {
        match self.field(name) {
            Self::Atom(text) => text.parse().unwrap_or(0),
            _ => 0,
        }
    }

    pub(super) fn text(&self, name: &str) -> &str {
        match self.field(name) {
            Self::Atom(text) => text.trim_matches('"'),
            _ => "",
        }
    }

    pub(super) fn items(&self) -> &[Tree] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Node(own, _) if own == name)
    }
}

static NOTHING: Tree = Tree::List(Vec::new());
