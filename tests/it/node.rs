//! Packages of npm, installed at first use.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

/// The folder with these packages, made at first use; `name` says whose they are.
pub fn modules(name: &str, packages: &[&str]) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(target.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let folder = target.join(name);
    let done = folder.join("done");
    let wanted = packages.join(" ");
    if std::fs::read_to_string(&done).ok().as_deref() != Some(&wanted) {
        std::fs::create_dir_all(&folder).unwrap();
        let install = ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--no-save", "--prefix"];
        run(Command::new("npm").args(install).arg(&folder).args(packages));
        std::fs::write(done, wanted).unwrap();
    }
    folder.join("node_modules")
}

/// Runs a program to its end; it must succeed.
pub fn run(command: &mut Command) {
    let program = command.get_program().to_owned();
    let output = command.output().unwrap_or_else(|error| {
        panic!("{}: {error}; install python3, python3-venv, nodejs and npm", program.display())
    });
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
