//! The shape of the code: floors, lengths, opening sentences.

use std::fs;
use std::path::{Path, PathBuf};

/// A room may use only rooms on lower floors; rooms of one floor do not know each other.
const FLOORS: &[(u32, &[&str])] = &[
    (0, &["ids", "clock", "principal", "sqlstate", "report"]),
    (1, &["wire", "catalog"]),
    (2, &["analysis"]),
    (3, &["policy"]),
    (4, &["lineage"]),
    (5, &["telemetry"]),
    (6, &["net"]),
    (7, &["frontend", "backend", "approvals", "log"]),
    (8, &["auth", "notify", "sink"]),
    (9, &["session"]),
    (10, &["config", "control"]),
    (11, &["admin", "http"]),
    (12, &["server"]),
    (13, &["cli"]),
];

/// Lines of a file; near 400 one looks for the second noun.
const FILE_LINES_MAX: usize = 600;

fn floor(room: &str) -> Option<u32> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all(root: &str) -> Vec<(PathBuf, String)> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&base.join(root), &mut found);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(base).unwrap().to_path_buf(), text)
    };
    found.into_iter().map(read).collect()
}

fn room(path: &Path) -> String {
    let first = path.components().nth(1).unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn a_room_uses_only_rooms_on_lower_floors() {
    let mut wrong = Vec::new();
    for (path, text) in all("src") {
        let room = room(&path);
        if matches!(room.as_str(), "lib" | "main") {
            continue;
        }
        let own = floor(&room).unwrap_or_else(|| panic!("{room} has no floor"));
        for used in uses(&text) {
            // The ground floor is single files, each of which stands for itself.
            let above = floor(&used).is_none_or(|floor| floor >= own && floor > 0);
            if used != room && above {
                wrong.push(format!("{}: crate::{used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The rooms behind every `crate::`, also of `use crate::{a, b::c}`.
fn uses(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => rooms.push(word(rest)),
            Some(list) => {
                let mut depth = 0;
                for part in list.split_inclusive([',', '{', '}']) {
                    if depth == 0 {
                        rooms.push(word(part.trim_start()));
                    }
                    depth += i32::from(part.ends_with('{')) - i32::from(part.ends_with('}'));
                    if depth < 0 {
                        break;
                    }
                }
            }
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
}

#[test]
fn every_file_opens_with_its_purpose_and_holds_one_noun() {
    let mut wrong = Vec::new();
    for (path, text) in all("src").into_iter().chain(all("tests")) {
        if !text.starts_with("//! ") {
            wrong.push(format!("{} has no purpose", path.display()));
        }
        if text.lines().count() > FILE_LINES_MAX {
            wrong.push(format!("{} is {} lines long", path.display(), text.lines().count()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_left_for_later() {
    let marks =
        ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "dbg".to_owned() + "!(", "unimplemented".to_owned() + "!"];
    let mut wrong = Vec::new();
    for (path, text) in all("src").into_iter().chain(all("tests")) {
        wrong.extend(
            marks.iter().filter(|mark| text.contains(mark.as_str())).map(|mark| format!("{}: {mark}", path.display())),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_room_says_where_to_start_reading() {
    for (path, text) in all("src") {
        if path.ends_with("mod.rs") && path.components().count() == 3 {
            assert!(text.contains("tart reading at"), "{}", path.display());
        }
    }
}
