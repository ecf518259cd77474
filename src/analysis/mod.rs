//! SQL text and a catalog become [`Facts`].
//!
//! Must not: do I/O, or let the parser's types out. Unknown is a fact here: what cannot be read or resolved makes its
//! statement opaque, never empty. Start reading at [`analyze`].
mod analyzer;
mod assigned;
mod bound;
mod builtins;
mod cache;
mod closure;
mod context;
mod definitions;
mod dml;
mod expr;
mod facts;
mod findings;
mod fire;
mod flows;
mod from;
mod kinds;
mod locks;
mod merge;
mod names;
mod origin;
mod parse;
mod plannable;
mod plpgsql;
mod prescan;
mod query;
mod render;
mod replay;
mod replication;
mod routines;
pub mod scan;
mod scope;
mod sequence;
mod set_config;
pub mod settings;
mod shape;
mod statement;
mod touch;
mod vouch;
mod ways;
mod witness;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use cache::{CACHE_ENTRIES_MAX, CACHED_TEXT_MAX, Cache, Known};
pub use closure::{bundle_basis, bundle_digest, definitions, solid};
pub use context::{Context, Encoding, Readers, Rejected, STATEMENT_MAX};
pub use facts::*;
pub use flows::{Fill, Flow, Flows, Move};
pub use locks::{TableLock, reversible, table_lock};
pub use origin::{Unforeseen, unforeseen};
pub use plannable::{Plannable, plannable};
use prescan::Prescan;
pub use prescan::{COMMENT_DEPTH_MAX, COMMENTS_MAX, DEPTH_MAX, LOOK_AHEAD_MAX, OPERATOR_MAX, STATEMENTS_MAX};
pub use replay::Replay;
pub use replication::{Published, Subscribed, replication, subscribed};
pub use ways::{Use, Uses, Way, Ways};
pub use work::WORK_MAX;

use crate::catalog::fold;

/// Facts of every statement of a text.
///
/// # Errors
/// A text that is too large or nested too deeply to be parsed safely; the session answers 54000.
pub fn analyze(text: &[u8], context: &Context<'_>) -> Result<Facts, Rejected> {
    let prescan = prescan::prescan(text, context)?;
    let Ok(text) = std::str::from_utf8(text) else {
        return Ok(opaque(text.len(), "the text is not valid UTF-8"));
    };
    if context.encoding == Encoding::Unsafe && !text.is_ascii() {
        return Ok(opaque(text.len(), "in this client encoding its bytes are other characters"));
    }
    if prescan.backslash && !context.standard_conforming_strings {
        return Ok(opaque(text.len(), "standard_conforming_strings is off and a plain string holds a backslash"));
    }
    Ok(guarded(text, context, prescan))
}

/// A text that nests deeper than this is read on a thread with a stack of its own.
const SHALLOW: usize = 120;
/// Levels that fit the stack of any thread.
const SHALLOW_LEVELS: usize = 200;
/// Levels that the deepest text takes that the pre-scan lets through.
const DEEP_LEVELS: usize = 4 * DEPTH_MAX;
/// What so many levels take, with room to spare.
const STACK_BYTES: usize = 512 << 20;

/// Reads a text where its depth fits the stack, and turns a panic of the parser's bindings into an opaque statement.
fn guarded(text: &str, context: &Context<'_>, prescan: Prescan) -> Facts {
    let read = |levels: usize| catch_unwind(AssertUnwindSafe(|| statements(text, context, prescan, levels))).ok();
    let deep = || {
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().name("analysis".to_owned()).stack_size(STACK_BYTES);
            builder.spawn_scoped(scope, || read(DEEP_LEVELS)).ok().and_then(|thread| thread.join().ok().flatten())
        })
    };
    let shallow = if prescan.depth <= SHALLOW { read(SHALLOW_LEVELS).filter(is_whole) } else { None };
    shallow.or_else(deep).unwrap_or_else(|| opaque(text.len(), "the parser failed on it"))
}

/// Whether no statement came to the end of its stack, in a view or a function that the pre-scan does not see.
fn is_whole(facts: &Facts) -> bool {
    !facts.statements.iter().any(|statement| statement.opaque.iter().any(|why| why == analyzer::TOO_DEEP))
}

fn statements(text: &str, context: &Context<'_>, prescan: Prescan, levels: usize) -> Facts {
    let tree = match parse::parse(text) {
        Ok(tree) => tree,
        Err(error) => return opaque(text.len(), &format!("{}{error}", facts::UNPARSABLE)),
    };
    let work = work::Work::new(context.work_max);
    let analyzer = || {
        let mut analyzer = analyzer::Analyzer::new(context, &work, levels);
        analyzer.called = context.called;
        analyzer
    };
    let read = |parsed: parse::Parsed<'_>| analyzer().statement(parsed.node, parsed.span);
    let mut facts = Facts { statements: tree.statements(text).map(read).collect() };
    sequence::in_order(text, &sequence::Reading { context, work: &work, levels }, &mut facts);
    if witness::can_hear(text, prescan) {
        witness::hear(context, &witness::relations(text), &mut facts);
    }
    facts
}

/// One statement of which nothing is known but why; it could have done anything to definitions.
fn opaque(length: usize, why: &str) -> Facts {
    let mut statement = StatementFacts::opaque("UNKNOWN", 0..length, why);
    statement.effects.push(SessionEffect::CatalogChange);
    statement.session_local = false;
    Facts { statements: vec![statement] }
}

/// The schema and name in a text that `regclass` reads.
fn relation_name(text: &str) -> (Option<String>, String) {
    let mut parts: Vec<String> = Vec::new();
    let mut part = String::new();
    let mut quoted = false;
    let mut was_quoted = false;
    for c in text.trim().chars() {
        match c {
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            '.' if !quoted => {
                let done = std::mem::take(&mut part);
                parts.push(if std::mem::take(&mut was_quoted) { done } else { fold(&done) });
            }
            c => part.push(c),
        }
    }
    let name = if was_quoted { part } else { fold(&part) };
    (parts.pop(), name)
}
