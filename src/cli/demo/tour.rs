//! The tour: its steps in order, each run within its time and printed as it goes.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::agent::Agent;
use super::operator::Operator;
use super::shop::Shop;
use super::steps::{log, reads, schema, streams, whose};
use crate::clock::monotonic;

/// The longest that one step may take.
const STEP_MAX: Duration = Duration::from_secs(20);

/// What is shown, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Untagged,
    Tagged,
    Approved,
    Denied,
    Exports,
    Streams,
    SelfApproval,
    Verify,
    Found,
}

const STEPS: [(Step, &str); 9] = [
    (Step::Untagged, "An agent reads untagged data: the same rows as directly"),
    (Step::Tagged, "A read of personal data passes, and the log says whose columns it touched"),
    (Step::Approved, "A schema change waits on its live connection until an operator approves"),
    (Step::Denied, "Another one, inside an open transaction, is denied with a reason"),
    (Step::Exports, "Exports and reads of all customers are held; a bounded, untagged read is not"),
    (Step::Streams, "A large untagged result stops at its row limit until an operator decides"),
    (Step::SelfApproval, "The human behind the agent cannot approve what the agent asks"),
    (Step::Verify, "The log is intact, and one changed byte is found"),
    (Step::Found, "Every step is found again in the log"),
];

impl Step {
    async fn run(self, stage: &mut Stage<'_>) -> anyhow::Result<()> {
        match self {
            Self::Untagged => reads::untagged(stage).await,
            Self::Tagged => reads::tagged(stage).await,
            Self::Approved => schema::approved(stage).await,
            Self::Denied => schema::denied(stage).await,
            Self::Exports => reads::exports(stage).await,
            Self::Streams => streams::limits(stage).await,
            Self::SelfApproval => whose::self_approval(stage).await,
            Self::Verify => log::verify(stage).await,
            Self::Found => log::found(stage).await,
        }
    }
}

/// What the steps act on.
pub(super) struct Stage<'a> {
    pub(super) shop: &'a Shop<'a>,
    /// The first operator.
    pub(super) operator: Operator,
    /// The human behind the agent, who is an operator too.
    pub(super) alice: Operator,
    out: &'a mut dyn Write,
}

/// What a run of this program said.
pub(super) struct Said {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
}

impl Stage<'_> {
    /// A new connection of the agent, through the proxy.
    pub(super) async fn agent(&self) -> anyhow::Result<Agent> {
        Agent::connect(&self.shop.agent_dsn()).await
    }

    /// The same role past the proxy.
    pub(super) async fn direct(&self) -> anyhow::Result<Agent> {
        Agent::connect(&self.shop.direct_dsn()).await
    }

    /// What somebody does.
    pub(super) fn does(&mut self, who: &str, what: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "   {who:>8} │ {what}")?)
    }

    /// What comes back.
    pub(super) fn gets(&mut self, what: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "            │ → {what}")?)
    }

    /// Runs this program with the log of the tour's proxy, or another.
    pub(super) async fn log(&self, arguments: &[&str], state: &std::path::Path) -> anyhow::Result<Said> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("log").args(arguments).arg("--state").arg(state);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let stdout = String::from_utf8(output.stdout).context("the log is no UTF-8")?;
        Ok(Said { code: output.status.code(), stdout })
    }
}

/// Runs all steps, also behind one that fails. Whether all held.
pub(super) async fn run(shop: &Shop<'_>, out: &mut dyn Write) -> anyhow::Result<bool> {
    let operator = Operator::new(shop.proxy.url(), shop.proxy.token())?;
    let alice = Operator::new(shop.proxy.url(), &shop.alice)?;
    let mut stage = Stage { shop, operator, alice, out };
    let (started, mut held) = (monotonic(), 0_usize);
    for (number, (step, title)) in (1..).zip(STEPS) {
        writeln!(stage.out, "{number:>2}. {title}")?;
        let ran = tokio::time::timeout(STEP_MAX, step.run(&mut stage)).await;
        match ran.unwrap_or_else(|_| Err(anyhow::anyhow!("not done within {} s", STEP_MAX.as_secs()))) {
            Ok(()) => {
                held += 1;
                writeln!(stage.out, "          ✓ │ held\n")?;
            }
            Err(error) => writeln!(stage.out, "          ✗ │ {error:#}\n")?,
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    writeln!(stage.out, "{held} of {} steps held, in {seconds:.1} s.", STEPS.len())?;
    if held < STEPS.len() && !shop.proxy.last_words().is_empty() {
        writeln!(stage.out, "The proxy's diagnostics:\n{}", shop.proxy.last_words())?;
    }
    Ok(held == STEPS.len())
}
