//! What a client can say, as values that a sequence is made of and that a failure shows.

use crate::harness::conn::{bind, describe_portal, execute, flush, frame, parse, query, sync};

/// One message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Query(String),
    Parse { name: &'static str, sql: String },
    Bind { portal: &'static str, statement: &'static str },
    DescribeStatement(&'static str),
    DescribePortal(&'static str),
    Execute { portal: &'static str, rows: u32 },
    CloseStatement(&'static str),
    ClosePortal(&'static str),
    Call { oid: u32, argument: &'static str },
    CopyData(&'static str),
    CopyDone,
    CopyFail,
    Flush,
    Sync,
}

impl Message {
    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        let named = |tag: char, kind: u8, name: &str| frame(tag, &[&[kind], name.as_bytes(), b"\0"].concat());
        match self {
            Self::Query(sql) => query(sql),
            Self::Parse { name, sql } => parse(name, sql),
            Self::Bind { portal, statement } => bind(portal, statement),
            Self::DescribeStatement(name) => named('D', b'S', name),
            Self::DescribePortal(name) => describe_portal(name),
            Self::Execute { portal, rows } => execute(portal, *rows),
            Self::CloseStatement(name) => named('C', b'S', name),
            Self::ClosePortal(name) => named('C', b'P', name),
            Self::Call { oid, argument } => call(*oid, argument),
            Self::CopyData(data) => frame('d', data.as_bytes()),
            Self::CopyDone => frame('c', b""),
            Self::CopyFail => frame('f', b"no more\0"),
            Self::Flush => flush(),
            Self::Sync => sync(),
        }
    }
}

/// A call with one argument, as text.
fn call(oid: u32, argument: &str) -> Vec<u8> {
    let length = u32::try_from(argument.len()).unwrap().to_be_bytes();
    frame('F', &[&oid.to_be_bytes()[..], &[0, 0, 0, 1], &length, argument.as_bytes(), &[0, 0]].concat())
}

/// What becomes of a text, by the tables in it: the policy and the operator of the test decide by the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It runs.
    Open,
    /// It is held, and a person approves.
    Approved,
    /// It is held, and a person says no.
    Denied,
    /// A rule says no.
    Refused,
}

/// The class of a text.
pub fn class(sql: &str) -> Class {
    match sql {
        _ if sql.contains("t_refused") => Class::Refused,
        _ if sql.contains("t_denied") => Class::Denied,
        _ if sql.contains("t_approved") => Class::Approved,
        _ => Class::Open,
    }
}
