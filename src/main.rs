//! The `holdgate` binary.

use std::process::ExitCode;

use clap::Parser;
use holdgate::cli::{Cli, exit, told};

/// Sessions allocate a little for every statement, on one thread and free it on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", told(&error));
            exit::USAGE.into()
        }
    }
}
