//! Which files are meant by the arguments.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Directories that hold what others wrote or what was built.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// The files in order: an argument that is a file as it is, one that is a directory as its `.sql` files, by name.
pub(super) fn walk(arguments: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for argument in arguments {
        let kind = std::fs::metadata(argument).with_context(|| argument.display().to_string())?;
        if kind.is_dir() {
            descend(argument, &mut found)?;
        } else {
            found.push(argument.clone());
        }
    }
    Ok(found)
}

/// How a file is called in the output: as it was reached, with forward slashes.
pub(super) fn name(file: &Path) -> String {
    let name = file.display().to_string().replace('\\', "/");
    name.strip_prefix("./").map(str::to_owned).unwrap_or(name)
}

/// Symbolic links are not followed below an argument, so that the walk ends.
fn descend(directory: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut open = vec![directory.to_owned()];
    let mut files = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let entry = entry.with_context(|| directory.display().to_string())?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let kind = entry.file_type().with_context(|| entry.path().display().to_string())?;
            if name.starts_with('.') {
                continue;
            }
            if kind.is_dir() && !SKIPPED.contains(&&*name) {
                open.push(entry.path());
            } else if kind.is_file() && Path::new(&*name).extension().is_some_and(|end| end.eq_ignore_ascii_case("sql"))
            {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    found.append(&mut files);
    Ok(())
}
