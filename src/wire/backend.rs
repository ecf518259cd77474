//! Borrowed views of the messages that a server sends and that are watched.

use super::reader::{Malformed, Reader};

/// The fields of an `ErrorResponse` or a `NoticeResponse`: a code and its bytes, in their order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    reader: Reader<'a>,
}

impl<'a> Fields<'a> {
    /// The fields of a body; a malformed one ends the iteration.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { reader: Reader::new(body) }
    }

    /// The first field with this code.
    #[must_use]
    pub fn field(&self, code: u8) -> Option<&'a [u8]> {
        self.clone().find(|(found, _)| *found == code).map(|(_, value)| value)
    }

    /// The SQLSTATE, as text; five question marks where there is none.
    #[must_use]
    pub fn sqlstate(&self) -> &'a str {
        self.field(b'C').and_then(|code| std::str::from_utf8(code).ok()).unwrap_or("?????")
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.byte() {
            Ok(0) | Err(_) => None,
            Ok(code) => self.reader.cstr().ok().map(|value| (code, value)),
        }
    }
}

/// One column of a `RowDescription`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The relation that it comes from; 0 where it is an expression.
    pub table_oid: u32,
    /// Its number there; 0 where it is an expression.
    pub attribute: i16,
}

/// Reads a `RowDescription`.
///
/// # Errors
/// A body that is not exactly of its form.
pub fn row_description(body: &[u8]) -> Result<Vec<Column<'_>>, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.i16()?;
    let columns = (0..count)
        .map(|_| {
            let name = reader.cstr()?;
            let table_oid = reader.u32()?;
            let attribute = reader.i16()?;
            reader.take(12)?;
            Ok(Column { name, table_oid, attribute })
        })
        .collect::<Result<Vec<_>, _>>()?;
    reader.end()?;
    Ok(columns)
}

/// The OIDs of the types in a `ParameterDescription`.
///
/// # Errors
/// A body that is not exactly of its form.
pub fn parameter_description(body: &[u8]) -> Result<Vec<u32>, Malformed> {
    let mut reader = Reader::new(body);
    let types = (0..reader.i16()?).map(|_| reader.u32()).collect::<Result<Vec<_>, _>>()?;
    reader.end()?;
    Ok(types)
}

/// The values of a `DataRow`; `None` is NULL.
///
/// # Errors
/// A body that is not exactly of its form.
pub fn data_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.i16()?;
    let values = (0..count)
        .map(|_| match usize::try_from(reader.i32()?) {
            Ok(length) => reader.take(length).map(Some),
            Err(_) => Ok(None),
        })
        .collect::<Result<Vec<_>, _>>()?;
    reader.end()?;
    Ok(values)
}

/// The tag of a `CommandComplete`, and the number of rows that it counts.
#[must_use]
pub fn command_complete(body: &[u8]) -> (&str, Option<u64>) {
    let tag = body.strip_suffix(b"\0").and_then(|tag| std::str::from_utf8(tag).ok()).unwrap_or("");
    match tag.rsplit_once(' ') {
        Some((command, rows)) => match rows.parse() {
            Ok(rows) => (command.trim_end_matches(" 0"), Some(rows)),
            Err(_) => (tag, None),
        },
        None => (tag, None),
    }
}

/// A `ParameterStatus`: name and value.
///
/// # Errors
/// A body that is not exactly of its form.
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    let name = reader.cstr()?;
    let value = reader.cstr()?;
    reader.end()?;
    Ok((name, value))
}

/// A `BackendKeyData`: process id and secret key.
///
/// # Errors
/// A body without a process id.
pub fn key_data(body: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    Ok((reader.u32()?, reader.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_end_at_their_terminator() {
        let fields = Fields::new(b"SERROR\0C42601\0Mno\0\0");
        assert_eq!(fields.sqlstate(), "42601");
        assert_eq!(fields.count(), 3);
    }

    #[test]
    fn a_command_tag_gives_its_rows() {
        assert_eq!(command_complete(b"SELECT 7\0"), ("SELECT", Some(7)));
        assert_eq!(command_complete(b"INSERT 0 3\0"), ("INSERT", Some(3)));
        assert_eq!(command_complete(b"ALTER TABLE\0"), ("ALTER TABLE", None));
    }

    #[test]
    fn a_row_description_names_the_source_of_each_column() {
        let mut body = vec![0, 1];
        body.extend(b"email\0");
        body.extend([0, 0, 0x40, 1, 0, 4]);
        body.extend([0; 12]);
        assert_eq!(row_description(&body).unwrap(), [Column { name: b"email", table_oid: 0x4001, attribute: 4 }]);
    }
}
