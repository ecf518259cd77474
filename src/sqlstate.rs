//! Every SQLSTATE that the proxy itself sends (PostgreSQL manual, appendix A), by its condition name.

use std::fmt;

/// A five-character SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// Reads a SQLSTATE that a server sent; `None` where it is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let code: [u8; 5] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_alphanumeric).then_some(Self(code))
    }

    /// The five characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // All constructors take ASCII alone.
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Denied by a rule or by a person.
pub const INSUFFICIENT_PRIVILEGE: SqlState = SqlState(*b"42501");
/// A hold is pending: come back with the ticket. In Postgres's operator-intervention class, not used by Postgres itself.
pub const HOLD_PENDING: SqlState = SqlState(*b"57H01");
/// A hold expired, was withdrawn, or can have no ticket.
pub const HOLD_LAPSED: SqlState = SqlState(*b"57H03");
/// The client cancelled its own statement.
pub const QUERY_CANCELED: SqlState = SqlState(*b"57014");
/// A tripwire cut a stream.
pub const CONFIGURATION_LIMIT_EXCEEDED: SqlState = SqlState(*b"53400");
/// A malformed or unexpected frame.
pub const PROTOCOL_VIOLATION: SqlState = SqlState(*b"08P01");
/// A statement or frame over a size or nesting bound.
pub const PROGRAM_LIMIT_EXCEEDED: SqlState = SqlState(*b"54000");
/// Wrong password.
pub const INVALID_PASSWORD: SqlState = SqlState(*b"28P01");
/// A log-in that is refused for another reason than its password.
pub const INVALID_AUTHORIZATION: SqlState = SqlState(*b"28000");
/// An unknown database.
pub const INVALID_CATALOG_NAME: SqlState = SqlState(*b"3D000");
/// Too many sessions.
pub const TOO_MANY_CONNECTIONS: SqlState = SqlState(*b"53300");
/// The upstream cannot be reached.
pub const UNABLE_TO_CONNECT: SqlState = SqlState(*b"08001");
/// The upstream went away.
pub const CONNECTION_FAILURE: SqlState = SqlState(*b"08006");
/// The proxy drains and takes no new work.
pub const CANNOT_CONNECT_NOW: SqlState = SqlState(*b"57P03");
/// Ended by an operator or by a drain.
pub const ADMIN_SHUTDOWN: SqlState = SqlState(*b"57P01");
/// The log cannot be written.
pub const IO_ERROR: SqlState = SqlState(*b"58030");
/// A fault of the proxy's own.
pub const INTERNAL_ERROR: SqlState = SqlState(*b"XX000");
/// Something that the protocol allows and the proxy does not offer.
pub const FEATURE_NOT_SUPPORTED: SqlState = SqlState(*b"0A000");
/// A statement of the admin database that cannot be read.
pub const SYNTAX_ERROR: SqlState = SqlState(*b"42601");
/// A hold or other object of the admin database that does not exist.
pub const UNDEFINED_OBJECT: SqlState = SqlState(*b"42704");
/// A decision that came after the outcome.
pub const OBJECT_NOT_IN_PREREQUISITE_STATE: SqlState = SqlState(*b"55000");
/// A setting of ours with a value that it cannot have.
pub const INVALID_PARAMETER_VALUE: SqlState = SqlState(*b"22023");
/// A prepared statement or portal of the admin database that does not exist.
pub const INVALID_SQL_STATEMENT_NAME: SqlState = SqlState(*b"26000");
/// Something that was done, and not as one might think.
pub const WARNING: SqlState = SqlState(*b"01000");
