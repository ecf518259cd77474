//! What publications have, asked over the proxy's own credential and waited for only briefly.

use std::time::Duration;

use postgres_protocol::escape::escape_literal;
use serde::Deserialize;
use tokio_postgres::SimpleQueryMessage;

use super::databases::Databases;
use crate::analysis::{Published, Subscribed};

/// A stream is not kept waiting for longer; then it counts as carrying everything.
const LOOK_WAIT: Duration = Duration::from_secs(2);

/// What the server says.
#[derive(Deserialize)]
struct Answer {
    /// Publications of those names.
    known: usize,
    /// Whether the slot is there, of this database, and hands over what `pgoutput` makes: no other plug-in is bound to
    /// publications.
    slot: bool,
    tables: Vec<Published>,
}

impl Databases {
    /// The tables that a stream is subscribed to. `None`: that is not known for sure.
    pub async fn published(&self, name: &str, subscribed: &Subscribed) -> Option<Vec<Published>> {
        let rows = self.look(name, &question(subscribed), LOOK_WAIT).await?;
        let answer = rows.iter().find_map(answer)?;
        let wanted: std::collections::BTreeSet<_> = subscribed.publications.iter().collect();
        (answer.slot && answer.known == wanted.len()).then_some(answer.tables)
    }
}

fn question(subscribed: &Subscribed) -> String {
    let names: Vec<_> = subscribed.publications.iter().map(|name| escape_literal(name)).collect();
    let (names, slot) = (names.join(", "), escape_literal(&subscribed.slot));
    // The columns of a publication are known to 15 and later; before that all of them are sent.
    format!(
        "SELECT pg_catalog.json_build_object('known', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_publication p \
         WHERE p.pubname OPERATOR(pg_catalog.=) ANY (ARRAY[{names}]::pg_catalog.name[])), \
         'slot', EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.slot_name OPERATOR(pg_catalog.=) {slot} \
         AND s.plugin OPERATOR(pg_catalog.=) 'pgoutput' AND s.database OPERATOR(pg_catalog.=) pg_catalog.current_database()), \
         'tables', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_object('schema', t.schemaname, \
         'name', t.tablename, 'columns', pg_catalog.to_jsonb(t) OPERATOR(pg_catalog.->) 'attnames')) \
         FROM pg_catalog.pg_publication_tables t \
         WHERE t.pubname OPERATOR(pg_catalog.=) ANY (ARRAY[{names}]::pg_catalog.name[])), '[]'))"
    )
}

fn answer(message: &SimpleQueryMessage) -> Option<Answer> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    serde_json::from_str(row.get(0)?).ok()
}
