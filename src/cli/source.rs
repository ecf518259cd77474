//! Where a command takes its catalog from: a live database or a snapshot file.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::analysis::settings;
use crate::backend::databases::Databases;
use crate::backend::memory::Memory;
use crate::catalog::Catalog;
use crate::catalog::tags::TagRules;
use crate::config::{Environment, dsn};
use crate::server::reach;

/// What names mean to a session that has just begun.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) catalog: Catalog,
    pub(super) search_path: Vec<String>,
    pub(super) role: String,
}

/// Reads a snapshot file. Its session has the server's default search path, and no role.
pub(super) fn snapshot(file: &PathBuf) -> anyhow::Result<Start> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let catalog = Catalog::from_json(&text).with_context(|| file.display().to_string())?;
    Ok(Start { catalog, search_path: settings::split("\"$user\", public"), role: String::new() })
}

/// Reads the catalog of a live database, and how names resolve for who logs in.
pub(super) fn upstream(dsn: &str) -> anyhow::Result<Start> {
    let dsn = dsn::Upstream::parse(dsn, &Environment::process()).context("the upstream's address cannot be read")?;
    let (upstream, credential) = reach(&dsn)?;
    let user = credential.as_ref().context("the upstream's address names no user")?.user.clone();
    let database = dsn.database.clone().unwrap_or(user);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let databases = Databases::new(upstream, credential, TagRules::default(), Memory::passing()?);
        let client = databases.log_in(&database).await.context("the upstream cannot be reached")?;
        let catalog = crate::backend::catalog::load(&client).await.context("the catalog cannot be read")?;
        let row = client
            .query_one("SELECT pg_catalog.current_setting('search_path'), CAST(current_user AS pg_catalog.text)", &[])
            .await
            .context("the session cannot be read")?;
        Ok(Start { catalog, search_path: settings::split(row.get(0)), role: row.get(1) })
    })
}

/// Writes a file beside the one that it replaces, so that a failure leaves the old one whole.
pub(super) fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    std::fs::write(&draft, text).with_context(|| draft.display().to_string())?;
    std::fs::rename(&draft, file).with_context(|| file.display().to_string())
}
