//! The terminal while `watch` has it: another screen, keys one by one; given back whatever ends the watch.

use std::io::Write;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};

use super::draw::{Line, Tone};
use super::view::Size;

/// What a terminal that does not say its size is taken for.
const USUAL: Size = Size { width: 80, height: 24 };

/// The terminal; dropping it gives it back.
pub(super) struct Screen<'a, W: Write> {
    out: &'a mut W,
}

impl<'a, W: Write> Screen<'a, W> {
    pub(super) fn enter(out: &'a mut W) -> std::io::Result<Self> {
        enable_raw_mode()?;
        // From here on dropping gives the terminal back.
        let screen = Self { out };
        execute!(screen.out, EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Writes over what was there, line by line, so that nothing flickers.
    pub(super) fn draw(&mut self, lines: &[Line]) -> std::io::Result<()> {
        for (row, line) in lines.iter().enumerate() {
            let attribute = match line.tone {
                Tone::Plain => Attribute::Reset,
                Tone::Faint => Attribute::Dim,
                Tone::Chosen => Attribute::Reverse,
                Tone::Loud => Attribute::Bold,
            };
            let row = u16::try_from(row).unwrap_or(u16::MAX);
            queue!(self.out, MoveTo(0, row), SetAttribute(attribute), Print(&line.text))?;
            queue!(self.out, SetAttribute(Attribute::Reset), Clear(ClearType::UntilNewLine))?;
        }
        queue!(self.out, Clear(ClearType::FromCursorDown))?;
        self.out.flush()
    }
}

/// How large the terminal is now.
pub(super) fn current_size() -> Size {
    let known = size().ok().filter(|(width, height)| *width > 0 && *height > 0);
    known.map_or(USUAL, |(width, height)| Size { width: width.into(), height: height.into() })
}

impl<W: Write> Drop for Screen<'_, W> {
    fn drop(&mut self) {
        // A terminal that is gone cannot be given back: nobody is left to hear of it.
        let _ = execute!(self.out, Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}
