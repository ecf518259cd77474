//! The fuzzer of `checks/startup.rs`.
#![no_main]

#[path = "../checks/startup.rs"]
mod startup;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| startup::check(bytes));
