//! Server-sent events out of a byte stream (HTML standard, section 9.2.6), each within a bound.

/// The longest line or event, in bytes: the largest statement with its values, written as JSON.
const EVENT_MAX: usize = 128 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// `message` where the stream names none.
    pub(super) kind: String,
    pub(super) data: String,
    /// Where the stream goes on from after a break; it stands until another one comes.
    pub(super) id: Option<String>,
}

/// The stream says more at once than anybody may.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {EVENT_MAX} bytes")]
pub(super) struct TooLong;

/// Bytes as they come in, events as they are complete.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    /// The last byte was a carriage return, which ends a line with or without a line feed behind it.
    returned: bool,
    kind: String,
    data: String,
    id: Option<String>,
    /// A comment alone is no event.
    has_data: bool,
}

impl Parser {
    /// Takes bytes; gives back what they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            let after_return = std::mem::replace(&mut self.returned, *byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                _ => self.line.push(*byte),
            }
            if self.line.len() + self.data.len() > EVENT_MAX {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if line.is_empty() {
            return self.end_of_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // A comment, or a field of a later standard.
            _ => {}
        }
        None
    }

    fn end_of_event(&mut self) -> Option<Event> {
        let kind = std::mem::take(&mut self.kind);
        let data = std::mem::take(&mut self.data);
        if !std::mem::take(&mut self.has_data) {
            return None;
        }
        let kind = if kind.is_empty() { "message".to_owned() } else { kind };
        Some(Event { kind, data, id: self.id.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &str, id: Option<&str>) -> Event {
        Event { kind: kind.to_owned(), data: data.to_owned(), id: id.map(str::to_owned) }
    }

    #[test]
    fn events_are_the_same_however_their_bytes_are_cut_and_whatever_ends_their_lines() {
        let stream =
            "event: open\ndata: {}\nid: a-1\n\n:keep-alive\n\nevent: hold\ndata: {\"s\":\ndata:\"café\"}\n\ndata\n\n";
        let expected = [
            event("open", "{}", Some("a-1")),
            event("hold", "{\"s\":\n\"café\"}", Some("a-1")),
            event("message", "", Some("a-1")),
        ];
        for ending in ["\n", "\r\n", "\r"] {
            let bytes = stream.replace('\n', ending).into_bytes();
            for size in [1, 2, 3, 7, bytes.len()] {
                let mut parser = Parser::default();
                let events: Vec<_> = bytes.chunks(size).flat_map(|chunk| parser.push(chunk).unwrap()).collect();
                assert_eq!(events, expected, "{ending:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn an_event_without_an_end_is_bounded() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        let outcome = (0..=EVENT_MAX >> 20).map(|_| parser.push(&piece)).find(Result::is_err);
        assert_eq!(outcome, Some(Err(TooLong)));
    }
}
