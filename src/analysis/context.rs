//! What a text is analysed in: the session's view of the database.

use std::sync::Arc;

use crate::catalog::{Catalog, Oid, PG_TEMP, Relation};

/// Whether a byte below 128 is always a character of its own in the client's encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8 and every encoding of the server.
    #[default]
    Safe,
    /// SJIS, BIG5, GBK, GB18030, UHC, JOHAB: a trailing byte can look like a quote or a backslash.
    Unsafe,
}

impl Encoding {
    /// The class of a `client_encoding` as `ParameterStatus` names it.
    #[must_use]
    pub fn of(client_encoding: &str) -> Self {
        let name: String =
            client_encoding.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        let unsafe_names = [
            "sjis",
            "shiftjis",
            "mskanji",
            "win932",
            "windows932",
            "shiftjis2004",
            "big5",
            "win950",
            "windows950",
            "gbk",
            "win936",
            "windows936",
            "gb18030",
            "uhc",
            "win949",
            "windows949",
            "johab",
        ];
        if unsafe_names.contains(&name.as_str()) { Self::Unsafe } else { Self::Safe }
    }
}

/// Relations that only this session can see: temporary ones and uncommitted ones.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    relations: Vec<Arc<Relation>>,
}

impl Overlay {
    /// An overlay of these relations. Their schema is `pg_temp` where they are temporary.
    #[must_use]
    pub fn new(relations: Vec<Arc<Relation>>) -> Self {
        Self { relations }
    }

    /// The relation of that name; a schema of `None` means the search path, in which `pg_temp` stands first.
    #[must_use]
    pub fn find(&self, schema: Option<&str>, name: &str) -> Option<&Arc<Relation>> {
        let schema = schema.unwrap_or(PG_TEMP);
        self.relations.iter().rev().find(|relation| &*relation.name == name && &*relation.schema == schema)
    }

    /// The relation of that OID.
    #[must_use]
    pub fn by_oid(&self, oid: Oid) -> Option<&Arc<Relation>> {
        self.relations.iter().find(|relation| relation.oid == oid)
    }
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
    /// `standard_conforming_strings`.
    pub standard_conforming_strings: bool,
    /// The client's encoding.
    pub encoding: Encoding,
    /// What only this session can see.
    pub overlay: Option<&'a Overlay>,
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
            standard_conforming_strings: true,
            encoding: Encoding::Safe,
            overlay: None,
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
