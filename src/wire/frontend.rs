//! Borrowed views of the messages that a client sends and that are judged.

use super::reader::{INVALID_FORMAT, Malformed, Reader};

/// A simple Query: its text, without the NUL.
///
/// # Errors
/// No NUL, or bytes after it.
pub fn query(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    let text = reader.cstr()?;
    reader.end()?;
    Ok(text)
}

/// Parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The statement's name; empty for the unnamed one.
    pub name: &'a [u8],
    /// Its text.
    pub text: &'a [u8],
    /// OIDs of its parameters' types as they came, four bytes each; 0 where the server is to find out.
    pub types: &'a [u8],
}

impl Parse<'_> {
    /// The OIDs of its parameters' types; those that it does not say are missing at the end, or 0.
    pub fn type_oids(&self) -> impl Iterator<Item = u32> {
        self.types.as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// Reads a Parse.
///
/// # Errors
/// A body that is not exactly of its form.
pub fn parse(body: &[u8]) -> Result<Parse<'_>, Malformed> {
    let mut reader = Reader::new(body);
    let name = name(reader.cstr()?);
    let text = reader.cstr()?;
    let count = usize::try_from(reader.i16()?).unwrap_or(0);
    let types = reader.take(4 * count)?;
    reader.end()?;
    Ok(Parse { name, text, types })
}

/// The names that begin a Bind; enough to judge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindNames<'a> {
    /// The portal's name; empty for the unnamed one.
    pub portal: &'a [u8],
    /// The prepared statement's name.
    pub statement: &'a [u8],
}

/// One Bind value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// Binary rather than text.
    pub binary: bool,
    /// The bytes; `None` is NULL.
    pub bytes: Option<&'a [u8]>,
}

/// Reads the names of a Bind, with the rest of its body.
///
/// # Errors
/// A name without its NUL.
pub fn bind_names(body: &[u8]) -> Result<(BindNames<'_>, &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    let portal = name(reader.cstr()?);
    let statement = name(reader.cstr()?);
    Ok((BindNames { portal, statement }, reader.rest()))
}

/// Reads the values of a Bind from what [`bind_names`] left.
///
/// # Errors
/// A body that is not exactly of its form.
pub fn bind_values(rest: &[u8]) -> Result<Vec<Value<'_>>, Malformed> {
    let mut reader = Reader::new(rest);
    let values = values(&mut reader)?;
    for _ in 0..reader.i16()? {
        reader.i16()?;
    }
    reader.end()?;
    Ok(values)
}

fn values<'a>(reader: &mut Reader<'a>) -> Result<Vec<Value<'a>>, Malformed> {
    let formats = (0..reader.i16()?).map(|_| reader.i16()).collect::<Result<Vec<_>, _>>()?;
    let count = reader.i16()?;
    let mut values = Vec::new();
    for index in 0..usize::try_from(count).unwrap_or(0) {
        let format = if formats.len() == 1 { formats.first() } else { formats.get(index) };
        let bytes = match reader.i32()? {
            -1 => None,
            length => Some(reader.take(usize::try_from(length).map_err(|_| INVALID_FORMAT)?)?),
        };
        values.push(Value { binary: format.copied().unwrap_or(0) != 0, bytes });
    }
    Ok(values)
}

/// How many values a Bind carries, and the formats that it asks results in, from what [`bind_names`] left.
///
/// # Errors
/// A body that is not exactly of its form.
pub fn bind_formats(rest: &[u8]) -> Result<(usize, Vec<i16>), Malformed> {
    let values = bind_values(rest)?.len();
    let mut reader = Reader::new(rest);
    for _ in 0..reader.i16()? {
        reader.i16()?;
    }
    for _ in 0..reader.i16()? {
        let length = reader.i32()?;
        reader.take(usize::try_from(length).unwrap_or(0))?;
    }
    let formats = (0..reader.i16()?).map(|_| reader.i16()).collect::<Result<Vec<_>, _>>()?;
    Ok((values, formats))
}

/// What Describe and Close are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement.
    Statement(&'a [u8]),
    /// A portal.
    Portal(&'a [u8]),
}

/// Reads a Describe or a Close. `None`: a subtype that Postgres refuses.
///
/// # Errors
/// A body that is not exactly of its form.
pub fn target(body: &[u8]) -> Result<Option<Target<'_>>, Malformed> {
    let mut reader = Reader::new(body);
    let subtype = reader.byte()?;
    let name = name(reader.cstr()?);
    reader.end()?;
    Ok(match subtype {
        b'S' => Some(Target::Statement(name)),
        b'P' => Some(Target::Portal(name)),
        _ => None,
    })
}

/// Execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The portal's name.
    pub portal: &'a [u8],
    /// The most rows of this slice; 0 or less is all.
    pub rows_max: i32,
}

/// Reads an Execute.
///
/// # Errors
/// A body that is not exactly of its form.
pub fn execute(body: &[u8]) -> Result<Execute<'_>, Malformed> {
    let mut reader = Reader::new(body);
    let portal = name(reader.cstr()?);
    let rows_max = reader.i32()?;
    reader.end()?;
    Ok(Execute { portal, rows_max })
}

/// The OID that a `FunctionCall` calls, with the rest of its body.
///
/// # Errors
/// A body without an OID.
pub fn function_call(body: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    let mut reader = Reader::new(body);
    let oid = reader.u32()?;
    Ok((oid, reader.rest()))
}

/// Reads the values of a `FunctionCall` from what [`function_call`] left.
///
/// # Errors
/// A body that is not exactly of its form.
pub fn call_values(rest: &[u8]) -> Result<Vec<Value<'_>>, Malformed> {
    let mut reader = Reader::new(rest);
    let values = values(&mut reader)?;
    reader.i16()?;
    reader.end()?;
    Ok(values)
}

/// A name as the server keeps it: prepared statements and portals are found by its first 63 bytes (`NAMEDATALEN` - 1,
/// the key of `hash_create` with `HASH_STRINGS`), in whatever encoding.
#[must_use]
pub fn name(bytes: &[u8]) -> &[u8] {
    bytes.get(..63).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_with_bytes_after_its_nul_is_malformed() {
        assert_eq!(query(b"select 1\0"), Ok(&b"select 1"[..]));
        assert_eq!(query(b"select 1\0Q\0\0\0\x05\0"), Err(INVALID_FORMAT));
        assert!(query(b"select 1").is_err());
    }

    #[test]
    fn a_parse_accounts_for_every_byte() {
        let found = parse(b"a\0select $1\0\0\x01\0\0\0\x17").unwrap();
        assert_eq!(found, Parse { name: b"a", text: b"select $1", types: b"\0\0\0\x17" });
        assert!(found.type_oids().eq([23]));
        assert!(parse(b"a\0select $1\0\0\x01\0\0\0").is_err());
        assert!(parse(b"a\0select $1\0\0\0\0").is_err());
    }

    #[test]
    fn a_bind_gives_its_values_with_their_formats() {
        let body = b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\0";
        let (names, rest) = bind_names(body).unwrap();
        assert_eq!(names, BindNames { portal: b"", statement: b"s" });
        let values = bind_values(rest).unwrap();
        assert_eq!(values, [Value { binary: true, bytes: Some(b"x") }, Value { binary: true, bytes: None }]);
    }

    #[test]
    fn a_bind_that_claims_more_than_it_has_is_malformed() {
        assert!(bind_values(b"\0\0\0\x01\0\0\0\x09x\0\0").is_err());
        assert!(bind_values(b"\0\0\x7f\xff").is_err());
    }
}
