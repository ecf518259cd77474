//! A statement as text that knows which of its parts can go: what the minimiser works on.

/// A piece of a statement.
#[derive(Clone, Debug)]
pub enum Doc {
    /// Words, with single spaces between tokens.
    Text(String),
    /// Pieces in a row.
    Row(Vec<Doc>),
    /// A piece without which the rest may still stand.
    Optional(Box<Doc>),
    /// A value of a type; a null of that type can stand for it, or a smaller value within it.
    Value(String, Box<Doc>),
    /// A whole query; a query within it may stand for it.
    Query(Box<Doc>),
}

impl From<&str> for Doc {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Doc {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Pieces in a row.
macro_rules! pieces {
    ($($piece:expr),* $(,)?) => { $crate::generator::doc::Doc::Row(vec![$($crate::generator::doc::Doc::from($piece)),*]) };
}
pub(crate) use pieces;

impl Doc {
    /// A part that can go.
    pub fn optional(inner: Self) -> Self {
        Self::Optional(Box::new(inner))
    }

    /// A value of a type.
    pub fn value(kind: &str, inner: Self) -> Self {
        Self::Value(kind.to_owned(), Box::new(inner))
    }

    /// Nothing.
    pub const fn empty() -> Self {
        Self::Row(Vec::new())
    }

    /// Pieces with commas between them; all but the first can go.
    pub fn list(pieces: Vec<Self>) -> Self {
        let mut row = Vec::new();
        for (place, piece) in pieces.into_iter().enumerate() {
            row.push(if place == 0 { piece } else { Self::optional(pieces![", ", piece]) });
        }
        Self::Row(row)
    }

    /// Pieces with commas between them, none of which can go.
    pub fn fixed(pieces: Vec<Self>) -> Self {
        let mut row = Vec::new();
        for (place, piece) in pieces.into_iter().enumerate() {
            row.push(if place == 0 { piece } else { pieces![", ", piece] });
        }
        Self::Row(row)
    }

    /// A template whose `$` are these pieces in turn.
    pub fn fill(template: &str, pieces: Vec<Self>) -> Self {
        let mut row = Vec::new();
        let mut pieces = pieces.into_iter();
        for (place, text) in template.split('$').enumerate() {
            if place > 0 {
                row.extend(pieces.next());
            }
            row.push(Self::from(text));
        }
        Self::Row(row)
    }

    /// The text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::Row(row) => row.iter().for_each(|piece| piece.write(out)),
            Self::Optional(inner) | Self::Value(_, inner) | Self::Query(inner) => inner.write(out),
        }
    }

    /// All documents that are one step smaller, the boldest step first.
    pub fn smaller(&self) -> Vec<Self> {
        let mut found = Vec::new();
        match self {
            Self::Text(_) => {}
            Self::Row(row) => {
                for (place, piece) in row.iter().enumerate() {
                    for less in piece.smaller() {
                        let mut row = row.clone();
                        row[place] = less;
                        found.push(Self::Row(row));
                    }
                }
            }
            Self::Optional(inner) => {
                found.push(Self::empty());
                found.extend(inner.smaller().into_iter().map(Self::optional));
            }
            Self::Value(kind, inner) => {
                found.push(Self::Text(format!("NULL::{kind}")));
                let mut within = Vec::new();
                inner.values(kind, &mut within);
                found.extend(within);
                found.extend(inner.smaller().into_iter().map(|less| Self::value(kind, less)));
            }
            Self::Query(inner) => {
                let mut within = Vec::new();
                inner.queries(&mut within);
                found.extend(within);
                found.extend(inner.smaller().into_iter().map(|less| Self::Query(Box::new(less))));
            }
        }
        found
    }

    /// The outermost values of a type within this one.
    fn values(&self, wanted: &str, found: &mut Vec<Self>) {
        match self {
            Self::Value(kind, _) if kind == wanted => found.push(self.clone()),
            Self::Text(_) => {}
            Self::Row(row) => row.iter().for_each(|piece| piece.values(wanted, found)),
            Self::Optional(inner) | Self::Value(_, inner) | Self::Query(inner) => inner.values(wanted, found),
        }
    }

    /// The outermost queries within this one.
    fn queries(&self, found: &mut Vec<Self>) {
        match self {
            Self::Query(_) => found.push(self.clone()),
            Self::Text(_) => {}
            Self::Row(row) => row.iter().for_each(|piece| piece.queries(found)),
            Self::Optional(inner) | Self::Value(_, inner) => inner.queries(found),
        }
    }
}

/// The smallest document that still has a property, found greedily within a number of trials.
pub async fn minimise(start: Doc, trials: usize, keeps: &mut impl AsyncFnMut(&str) -> bool) -> Doc {
    let mut best = start;
    let mut left = trials;
    'again: loop {
        let length = best.text().len();
        for less in best.smaller() {
            let text = less.text();
            if text.len() > length || (text.len() == length && text == best.text()) {
                continue;
            }
            if left == 0 {
                return best;
            }
            left -= 1;
            if keeps(&text).await {
                best = less;
                continue 'again;
            }
        }
        return best;
    }
}

impl Default for Doc {
    fn default() -> Self {
        Self::empty()
    }
}
