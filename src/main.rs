//! The `holdgate` binary.

use std::process::ExitCode;

use clap::Parser;
use holdgate::cli::{Cli, exit, told};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", told(&error));
            exit::USAGE.into()
        }
    }
}
