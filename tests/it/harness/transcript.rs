//! Wire scripts (`fixtures/wire/*.pt`): what a client sends, one message a line, and how far it then reads.
//!
//! A word is a message, its arguments follow: bare words, `"text"` with `\n \t \0 \" \\ \xHH`, or `null`. `@b` before a message
//! sends it on a second connection. `Startup` opens a connection with other parameters than the usual ones and is the
//! first message of it. `SSLRequest` and `GSSENCRequest` open one too, and its `Startup` follows. `Cancel a` asks for what
//! runs on connection a to be cancelled, once all before it is sent. `Read Z` reads up to a frame with that tag, `Read Z 3` up to the third, `Read end` up to the end
//! of the stream.

use super::conn::frame;

/// One thing that a script does.
#[derive(Debug)]
pub enum Step {
    /// Opens the connection with a start-up packet of its own.
    Startup(Vec<u8>),
    /// Opens the connection with a question that is answered by one byte.
    Ask(Vec<u8>),
    /// Cancels what runs on another connection.
    Cancel(char),
    /// Sends a message.
    Send(Vec<u8>),
    /// Reads until this many frames with a tag have come; to the end where there is no tag.
    Read(Option<char>, usize),
}

/// A step, where it stands and whose it is.
#[derive(Debug)]
pub struct Line {
    pub number: usize,
    pub conn: char,
    pub step: Step,
}

/// Reads a script.
pub fn read(text: &str) -> Vec<Line> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| step(number, line))
        .collect()
}

fn step(number: usize, line: &str) -> Line {
    let mut arguments = words(line).into_iter();
    let mut name = arguments.next().unwrap().text();
    let conn = name.strip_prefix('@').map_or('a', |conn| conn.parse().unwrap());
    if name.starts_with('@') {
        name = arguments.next().unwrap().text();
    }
    let arguments = Arguments { line: format!("line {number}: {line}"), rest: arguments };
    Line { number, conn, step: message(&name, arguments) }
}

fn message(name: &str, mut given: Arguments) -> Step {
    let sent = match name {
        "Read" => return reading(&given.text(), given.rest.next().map_or(1, |count| count.text().parse().unwrap())),
        "Startup" => return Step::Startup(given.startup()),
        "SSLRequest" => return Step::Ask([8_u32, 80_877_103].map(u32::to_be_bytes).concat()),
        "GSSENCRequest" => return Step::Ask([8_u32, 80_877_104].map(u32::to_be_bytes).concat()),
        "Cancel" => return Step::Cancel(given.text().parse().unwrap()),
        "Password" => frame('p', &given.c_string()),
        "SASLInitialResponse" => frame('p', &[given.c_string(), sized(&given.bytes())].concat()),
        "SASLResponse" => frame('p', &given.bytes()),
        "Query" => frame('Q', &given.c_string()),
        "Parse" => frame('P', &[given.c_string(), given.c_string(), given.types()].concat()),
        "Bind" => {
            frame('B', &[given.c_string(), given.c_string(), given.formats(), given.values(), given.formats()].concat())
        }
        "Describe" => frame('D', &[given.kind(), given.c_string()].concat()),
        "Close" => frame('C', &[given.kind(), given.c_string()].concat()),
        "Execute" => frame('E', &[given.c_string(), given.int4()].concat()),
        "FunctionCall" => frame('F', &[given.int4(), given.formats(), given.values(), given.int2()].concat()),
        "CopyData" => frame('d', &given.bytes()),
        "CopyDone" => frame('c', b""),
        "CopyFail" => frame('f', &given.c_string()),
        "Flush" => frame('H', b""),
        "Sync" => frame('S', b""),
        "Terminate" => frame('X', b""),
        "Frame" => frame(given.text().parse().unwrap(), &given.bytes()),
        other => panic!("{other} is no message: {}", given.line),
    };
    assert!(given.rest.next().is_none(), "arguments are left: {}", given.line);
    Step::Send(sent)
}

fn reading(until: &str, count: usize) -> Step {
    Step::Read((until != "end").then(|| until.parse().unwrap()), count)
}

/// An argument as it was written.
#[derive(Debug)]
enum Word {
    Bare(String),
    Quoted(Vec<u8>),
}

impl Word {
    fn text(self) -> String {
        match self {
            Self::Bare(text) => text,
            Self::Quoted(bytes) => String::from_utf8(bytes).unwrap(),
        }
    }
}

fn words(line: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, tail) = if let Some(quoted) = rest.strip_prefix('"') {
            unquote(quoted)
        } else {
            let (bare, tail) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
            (Word::Bare(bare.to_owned()), tail)
        };
        found.push(word);
        rest = tail.trim_start();
    }
    found
}

fn unquote(text: &str) -> (Word, &str) {
    let mut bytes = Vec::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (Word::Quoted(bytes), &text[at + 1..]),
            '\\' => match letters.next().unwrap().1 {
                'n' => bytes.push(b'\n'),
                't' => bytes.push(b'\t'),
                '0' => bytes.push(0),
                'x' => {
                    let digits: String = letters.by_ref().take(2).map(|(_, digit)| digit).collect();
                    bytes.push(u8::from_str_radix(&digits, 16).unwrap());
                }
                other => bytes.extend(other.to_string().bytes()),
            },
            other => bytes.extend(other.to_string().bytes()),
        }
    }
    panic!("a quote is not closed: {text}")
}

/// The arguments of one message, taken in order. Lists are written `[ … ]`, and may be left out where nothing follows.
struct Arguments {
    line: String,
    rest: std::vec::IntoIter<Word>,
}

impl Arguments {
    fn next(&mut self) -> Word {
        self.rest.next().unwrap_or_else(|| panic!("an argument is missing: {}", self.line))
    }

    fn text(&mut self) -> String {
        self.next().text()
    }

    fn bytes(&mut self) -> Vec<u8> {
        match self.next() {
            Word::Bare(text) => text.into_bytes(),
            Word::Quoted(bytes) => bytes,
        }
    }

    fn c_string(&mut self) -> Vec<u8> {
        [self.bytes(), vec![0]].concat()
    }

    fn kind(&mut self) -> Vec<u8> {
        self.bytes()
    }

    fn int4(&mut self) -> Vec<u8> {
        self.text().parse::<i32>().unwrap().to_be_bytes().to_vec()
    }

    fn int2(&mut self) -> Vec<u8> {
        self.text().parse::<i16>().unwrap().to_be_bytes().to_vec()
    }

    fn list(&mut self) -> Vec<Word> {
        match self.rest.next() {
            None => return Vec::new(),
            Some(word) => assert!(matches!(&word, Word::Bare(open) if open == "["), "no list: {}", self.line),
        }
        self.rest.by_ref().take_while(|word| !matches!(word, Word::Bare(close) if close == "]")).collect()
    }

    fn types(&mut self) -> Vec<u8> {
        let oids = self.list().into_iter().map(|oid| oid.text().parse::<u32>().unwrap().to_be_bytes().to_vec());
        counted(&oids.collect::<Vec<_>>())
    }

    fn formats(&mut self) -> Vec<u8> {
        let codes = self.list().into_iter().map(|code| code.text().parse::<i16>().unwrap().to_be_bytes().to_vec());
        counted(&codes.collect::<Vec<_>>())
    }

    fn values(&mut self) -> Vec<u8> {
        let value = |word| match word {
            Word::Bare(null) if null == "null" => (-1_i32).to_be_bytes().to_vec(),
            Word::Bare(text) => sized(text.as_bytes()),
            Word::Quoted(bytes) => sized(&bytes),
        };
        counted(&self.list().into_iter().map(value).collect::<Vec<_>>())
    }

    /// `Startup 3.2 name value name value …`
    fn startup(&mut self) -> Vec<u8> {
        let version = self.text();
        let (major, minor) = version.split_once('.').unwrap();
        let mut body =
            [major.parse::<u16>().unwrap().to_be_bytes(), minor.parse::<u16>().unwrap().to_be_bytes()].concat();
        for word in self.rest.by_ref() {
            body.extend([word.text().as_bytes(), b"\0"].concat());
        }
        body.push(0);
        [u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec(), body].concat()
    }
}

fn counted(items: &[Vec<u8>]) -> Vec<u8> {
    [u16::try_from(items.len()).unwrap().to_be_bytes().to_vec(), items.concat()].concat()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec(), bytes.to_vec()].concat()
}
