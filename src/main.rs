//! The `holdgate` binary.

use std::process::ExitCode;

use clap::Parser;
use holdgate::cli::{Cli, exit};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            exit::USAGE.into()
        }
    }
}
