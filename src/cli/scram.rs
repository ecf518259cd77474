//! `holdgate scram`: makes the verifier of a principal's password.

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::auth::scram::Verifier;

/// The longest password that is read, bytes; more than any client sends.
const PASSWORD_MAX: u64 = 4096;

/// Makes the verifier of a password, for `principals: [{scram: …}]`: what Postgres keeps too, and nothing to log in with.
///
/// The password comes from standard input, or from the keyboard, where it is not shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Scram {}

impl Scram {
    /// Runs the command.
    ///
    /// # Errors
    /// There is no password.
    #[expect(clippy::unused_self, reason = "all subcommands are run alike")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let password = if std::io::stdin().is_terminal() { ask()? } else { read()? };
        if password.is_empty() {
            bail!("the password is empty");
        }
        let verifier = Verifier::of_password(&password)?;
        writeln!(std::io::stdout(), "{verifier}")?;
        Ok(super::exit::DONE.into())
    }
}

/// One line of standard input.
fn read() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().take(PASSWORD_MAX).read_to_string(&mut text).context("the password cannot be read")?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn ask() -> anyhow::Result<String> {
    let terminal = console::Term::stderr();
    let line = |prompt: &str| -> anyhow::Result<String> {
        terminal.write_str(prompt)?;
        Ok(terminal.read_secure_line()?)
    };
    let password = line("password: ")?;
    if line("again: ")? != password {
        bail!("these were two passwords");
    }
    Ok(password)
}
