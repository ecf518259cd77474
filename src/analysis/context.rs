//! What a text is analysed in: the session's view of the database.

use crate::catalog::{Catalog, Oid};

/// Whether the bytes of a text are the characters that the server reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8, in which the catalog is read too.
    #[default]
    Safe,
    /// Any other: what is not ASCII is another character for the server, and in some (SJIS, BIG5, GBK, GB18030, UHC, JOHAB)
    /// a byte behind it looks like a quote or a backslash.
    Unsafe,
}

impl Encoding {
    /// The class of a `client_encoding`, beside the `server_encoding`, as `ParameterStatus` names both.
    #[must_use]
    pub fn of(client: &str, server: &str) -> Self {
        match (client, server) {
            // Nothing is converted, and the catalog has the same bytes.
            ("UTF8", _) | ("SQL_ASCII", "UTF8" | "SQL_ASCII") => Self::Safe,
            _ => Self::Unsafe,
        }
    }
}

/// Whose row-level security counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Readers {
    /// That of the current role.
    #[default]
    TheRole,
    /// That of everybody: it is not known for certain who will run the text.
    Anyone,
}

/// What a text is analysed in.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The snapshot.
    pub catalog: &'a Catalog,
    /// The session's database.
    pub database: &'a str,
    /// `search_path`, an element a schema, `$user` as it is written.
    pub search_path: &'a [String],
    /// The current role.
    pub role: &'a str,
    /// Whose row-level security counts.
    pub readers: Readers,
    /// The text is a call of this function alone, whatever else has its name.
    pub called: Option<Oid>,
    /// `standard_conforming_strings`.
    pub standard_conforming_strings: bool,
    /// The client's encoding.
    pub encoding: Encoding,
    /// The most bytes that a text has.
    pub statement_max: usize,
    /// The most steps that its analysis takes; a statement that would take more is opaque.
    pub work_max: usize,
}

impl<'a> Context<'a> {
    /// A context with the server's defaults: `"$user", public`, standard strings, 16 MiB.
    #[must_use]
    pub fn new(catalog: &'a Catalog, database: &'a str, search_path: &'a [String], role: &'a str) -> Self {
        Self {
            catalog,
            database,
            search_path,
            role,
            readers: Readers::TheRole,
            called: None,
            standard_conforming_strings: true,
            encoding: Encoding::Safe,
            statement_max: STATEMENT_MAX,
            work_max: super::WORK_MAX,
        }
    }
}

/// The most bytes of a text, unless the configuration says otherwise.
pub const STATEMENT_MAX: usize = 16 << 20;

/// Why a text is not even parsed; the session answers 54000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// More bytes than allowed.
    #[error("statement of {bytes} bytes exceeds the limit of {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Nested more deeply than allowed: parentheses, CASE, operators or joins in a row, set operations.
    #[error("statement nests deeper than the limit of {max}")]
    TooDeep {
        /// The bound.
        max: usize,
    },
    /// Comments within comments within comments.
    #[error("comments nest deeper than the limit of {max}")]
    CommentsTooDeep {
        /// The bound.
        max: usize,
    },
    /// An operator longer than any that Postgres takes.
    #[error("operator exceeds the limit of {max} bytes")]
    OperatorTooLong {
        /// The bound.
        max: usize,
    },
    /// More statements in one text than are kept of it.
    #[error("a text has more statements than the limit of {max}")]
    TooManyStatements {
        /// The bound.
        max: usize,
    },
    /// More comments in a row than a lexer can pass over.
    #[error("more comments in a row than the limit of {max}")]
    TooManyComments {
        /// The bound.
        max: usize,
    },
    /// Operators and comments one behind the other, without a blank: each costs Postgres's lexer a look at all of the rest.
    #[error("operators and comments in one run exceed the limit of {max} bytes to look ahead")]
    RunTooLong {
        /// The bound.
        max: usize,
    },
}
