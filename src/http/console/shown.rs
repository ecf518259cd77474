//! Text of strangers as pieces: what is plain, and what could deceive whoever reads it.

use crate::control::card;

/// One piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Codes of characters that cannot be seen, steer a terminal or turn the reading direction.
    pub(super) odd: bool,
}

/// Cuts a text. Line breaks and tabs are plain; a lone carriage return is not.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\r' && characters.peek() == Some(&'\n') {
            continue;
        }
        let odd = !matches!(character, '\n' | '\t') && card::is_deceptive(character);
        match pieces.last_mut().filter(|last| !last.odd && !odd) {
            Some(last) => last.text.push(character),
            None if odd => pieces.push(Piece { text: card::printable(character.encode_utf8(&mut [0; 4])), odd }),
            None => pieces.push(Piece { text: character.to_string(), odd }),
        }
    }
    pieces
}

/// How much there is to read, so that nothing can wait unseen below the edge of the screen.
pub(super) fn size(text: &str) -> String {
    let lines = text.lines().count().max(1);
    format!("{lines} line{}, {} byte{}", plural(lines), text.len(), plural(text.len()))
}

fn plural(number: usize) -> &'static str {
    if number == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_a_piece_of_its_own_and_nothing_is_lost() {
        let cut = pieces("a\r\nb\u{202e}c\u{1b}[2J\rz\t");
        let odd: Vec<_> = cut.iter().filter(|piece| piece.odd).map(|piece| piece.text.as_str()).collect();
        assert_eq!(odd, ["\\u{202e}", "\\u{001b}", "\\u{000d}"]);
        let whole: String = cut.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(whole, "a\nb\\u{202e}c\\u{001b}[2J\\u{000d}z\t");
    }
}
