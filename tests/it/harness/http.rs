//! A server's side of HTTP, as far as receivers in tests need it.

use std::io::BufRead;

/// Method with path, and body; `None` at the end of the connection.
pub fn request(reader: &mut impl BufRead) -> Option<(String, String)> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let words: Vec<&str> = first.split(' ').take(2).collect();
    Some((words.join(" "), String::from_utf8(body).unwrap()))
}
