//! Every SQLSTATE that the proxy itself sends (PostgreSQL manual, appendix A), by its condition name.

use std::fmt;

/// A five-character SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(&'static str);

impl SqlState {
    /// The five characters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Denied by a rule or by a person.
pub const INSUFFICIENT_PRIVILEGE: SqlState = SqlState("42501");
/// A hold is pending: come back with the ticket. In Postgres's operator-intervention class, not used by Postgres itself.
pub const HOLD_PENDING: SqlState = SqlState("57H01");
/// A hold expired, was withdrawn, or can have no ticket.
pub const HOLD_LAPSED: SqlState = SqlState("57H03");
/// The client cancelled its own statement.
pub const QUERY_CANCELED: SqlState = SqlState("57014");
/// A tripwire cut a stream.
pub const CONFIGURATION_LIMIT_EXCEEDED: SqlState = SqlState("53400");
/// A malformed or unexpected frame.
pub const PROTOCOL_VIOLATION: SqlState = SqlState("08P01");
/// A statement or frame over a size or nesting bound.
pub const PROGRAM_LIMIT_EXCEEDED: SqlState = SqlState("54000");
/// Wrong password.
pub const INVALID_PASSWORD: SqlState = SqlState("28P01");
/// A log-in that is refused for another reason than its password.
pub const INVALID_AUTHORIZATION: SqlState = SqlState("28000");
/// An unknown database.
pub const INVALID_CATALOG_NAME: SqlState = SqlState("3D000");
/// Too many sessions.
pub const TOO_MANY_CONNECTIONS: SqlState = SqlState("53300");
/// The upstream cannot be reached.
pub const UNABLE_TO_CONNECT: SqlState = SqlState("08001");
/// The upstream went away.
pub const CONNECTION_FAILURE: SqlState = SqlState("08006");
/// The proxy drains and takes no new work.
pub const CANNOT_CONNECT_NOW: SqlState = SqlState("57P03");
/// Ended by an operator or by a drain.
pub const ADMIN_SHUTDOWN: SqlState = SqlState("57P01");
/// The log cannot be written.
pub const IO_ERROR: SqlState = SqlState("58030");
/// A fault of the proxy's own.
pub const INTERNAL_ERROR: SqlState = SqlState("XX000");
/// Something that the protocol allows and the proxy does not offer.
pub const FEATURE_NOT_SUPPORTED: SqlState = SqlState("0A000");
/// A statement of the admin database that cannot be read.
pub const SYNTAX_ERROR: SqlState = SqlState("42601");
/// A hold or other object of the admin database that does not exist.
pub const UNDEFINED_OBJECT: SqlState = SqlState("42704");
/// A decision that came after the outcome.
pub const OBJECT_NOT_IN_PREREQUISITE_STATE: SqlState = SqlState("55000");
/// A setting of ours with a value that it cannot have.
pub const INVALID_PARAMETER_VALUE: SqlState = SqlState("22023");
