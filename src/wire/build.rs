//! Building of messages, appended to a buffer.

use bytes::{BufMut, BytesMut};

use super::startup::Parameters;
use crate::report::Report;

/// Appends a frame whose body `fill` writes.
pub fn frame(out: &mut BytesMut, tag: u8, fill: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    length_prefixed(out, fill);
}

fn length_prefixed(out: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_i32(0);
    fill(out);
    let length = i32::try_from(out.len() - start).unwrap_or(i32::MAX);
    if let Some(prefix) = out.get_mut(start..start + 4) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a string and its NUL. A NUL inside would end it early: it is left out.
pub fn put_cstr(out: &mut BytesMut, text: &[u8]) {
    out.extend(text.iter().copied().filter(|byte| *byte != 0));
    out.put_u8(0);
}

/// How grave an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement fails.
    Error,
    /// The connection ends.
    Fatal,
    /// Nothing fails.
    Notice,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Notice => "NOTICE",
        }
    }

    fn tag(self) -> u8 {
        if self == Self::Notice { b'N' } else { b'E' }
    }
}

/// An `ErrorResponse` or a `NoticeResponse` with what a [`Report`] says.
pub fn report(out: &mut BytesMut, severity: Severity, report: &Report) {
    let put = |out: &mut BytesMut, code: u8, text: &str| {
        out.put_u8(code);
        put_cstr(out, text.as_bytes());
    };
    frame(out, severity.tag(), |out| {
        put(out, b'S', severity.as_str());
        put(out, b'V', severity.as_str());
        put(out, b'C', report.sqlstate.as_str());
        put(out, b'M', &report.message);
        if let Some(detail) = &report.detail {
            put(out, b'D', detail);
        }
        if let Some(hint) = &report.hint {
            put(out, b'H', hint);
        }
        out.put_u8(0);
    });
}

/// A `StartupMessage`.
pub fn startup(out: &mut BytesMut, parameters: &Parameters) {
    length_prefixed(out, |out| {
        out.put_u16(3);
        out.put_u16(parameters.minor);
        for (name, value) in &parameters.pairs {
            put_cstr(out, name);
            put_cstr(out, value);
        }
        out.put_u8(0);
    });
}

/// An `SSLRequest`.
pub fn ssl_request(out: &mut BytesMut) {
    length_prefixed(out, |out| out.put_u32(80_877_103));
}

/// A `CancelRequest`.
pub fn cancel_request(out: &mut BytesMut, pid: u32, key: &[u8]) {
    length_prefixed(out, |out| {
        out.put_u32(80_877_102);
        out.put_u32(pid);
        out.put_slice(key);
    });
}

/// A `BackendKeyData`.
pub fn key_data(out: &mut BytesMut, pid: u32, key: &[u8]) {
    frame(out, b'K', |out| {
        out.put_u32(pid);
        out.put_slice(key);
    });
}

/// A simple Query.
pub fn query(out: &mut BytesMut, text: &[u8]) {
    frame(out, b'Q', |out| put_cstr(out, text));
}

/// A Parse without parameter types.
pub fn parse(out: &mut BytesMut, name: &[u8], text: &[u8]) {
    frame(out, b'P', |out| {
        put_cstr(out, name);
        put_cstr(out, text);
        out.put_i16(0);
    });
}

/// A Bind without parameters; all results as text.
pub fn bind(out: &mut BytesMut, portal: &[u8], statement: &[u8]) {
    frame(out, b'B', |out| {
        put_cstr(out, portal);
        put_cstr(out, statement);
        out.put_slice(&[0, 0, 0, 0, 0, 0]);
    });
}

/// An Execute of all rows.
pub fn execute(out: &mut BytesMut, portal: &[u8]) {
    frame(out, b'E', |out| {
        put_cstr(out, portal);
        out.put_i32(0);
    });
}

/// A Close of a prepared statement.
pub fn close_statement(out: &mut BytesMut, name: &[u8]) {
    frame(out, b'C', |out| {
        out.put_u8(b'S');
        put_cstr(out, name);
    });
}

/// A Close of a portal.
pub fn close_portal(out: &mut BytesMut, name: &[u8]) {
    frame(out, b'C', |out| {
        out.put_u8(b'P');
        put_cstr(out, name);
    });
}

/// A Describe of a portal.
pub fn describe_portal(out: &mut BytesMut, name: &[u8]) {
    frame(out, b'D', |out| {
        out.put_u8(b'P');
        put_cstr(out, name);
    });
}

/// A `FunctionCall` without arguments.
pub fn function_call(out: &mut BytesMut, oid: u32) {
    frame(out, b'F', |out| {
        out.put_u32(oid);
        out.put_slice(&[0, 0, 0, 0, 0, 0]);
    });
}

/// A message without a body: Sync, Flush, Terminate, `ParseComplete` and their kin.
pub fn bare(out: &mut BytesMut, tag: u8) {
    frame(out, tag, |_| ());
}

/// A `ReadyForQuery`.
pub fn ready(out: &mut BytesMut, status: u8) {
    frame(out, b'Z', |out| out.put_u8(status));
}

/// A `CommandComplete`.
pub fn command_complete(out: &mut BytesMut, tag: &str) {
    frame(out, b'C', |out| put_cstr(out, tag.as_bytes()));
}

/// A `ParameterStatus`.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    frame(out, b'S', |out| {
        put_cstr(out, name.as_bytes());
        put_cstr(out, value.as_bytes());
    });
}

/// An Authentication request: its code, and the bytes that follow it.
pub fn authentication(out: &mut BytesMut, code: i32, rest: &[u8]) {
    frame(out, b'R', |out| {
        out.put_i32(code);
        out.put_slice(rest);
    });
}

/// A `RowDescription` of text columns (type `text`, OID 25).
pub fn row_description<'a>(out: &mut BytesMut, names: impl ExactSizeIterator<Item = &'a str>) {
    frame(out, b'T', |out| {
        out.put_i16(i16::try_from(names.len()).unwrap_or(i16::MAX));
        for name in names {
            put_cstr(out, name.as_bytes());
            out.put_u32(0);
            out.put_i16(0);
            out.put_u32(25);
            out.put_i16(-1);
            out.put_i32(-1);
            out.put_i16(0);
        }
    });
}

/// A `DataRow` of text values; `None` is NULL.
pub fn data_row<'a>(out: &mut BytesMut, values: impl ExactSizeIterator<Item = Option<&'a str>>) {
    frame(out, b'D', |out| {
        out.put_i16(i16::try_from(values.len()).unwrap_or(i16::MAX));
        for value in values {
            match value {
                Some(text) => {
                    out.put_i32(i32::try_from(text.len()).unwrap_or(i32::MAX));
                    out.put_slice(text.as_bytes());
                }
                None => out.put_i32(-1),
            }
        }
    });
}

/// A `NegotiateProtocolVersion`: the newest minor version that is served, and the options that are not known.
pub fn negotiate_version(out: &mut BytesMut, minor: u16, unknown: &[&[u8]]) {
    frame(out, b'v', |out| {
        out.put_u32(0x0003_0000 + u32::from(minor));
        out.put_i32(i32::try_from(unknown.len()).unwrap_or(i32::MAX));
        for option in unknown {
            put_cstr(out, option);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlstate;
    use crate::wire::backend::Fields;

    #[test]
    fn an_error_reads_back_field_by_field() {
        let mut out = BytesMut::new();
        let text = Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, "denied").detail("Why.").hint("What next.");
        report(&mut out, Severity::Error, &text);
        let fields = Fields::new(&out[5..]);
        assert_eq!(fields.sqlstate(), "42501");
        assert_eq!(fields.field(b'D'), Some(&b"Why."[..]));
        assert_eq!(fields.field(b'H'), Some(&b"What next."[..]));
    }

    #[test]
    fn a_nul_in_a_text_cannot_end_a_field() {
        let mut out = BytesMut::new();
        report(&mut out, Severity::Error, &Report::new(sqlstate::IO_ERROR, "a\0C00000"));
        assert_eq!(Fields::new(&out[5..]).sqlstate(), "58030");
    }
}
