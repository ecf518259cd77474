//! The passfile of libpq (manual, chapter "The Password File").

use std::fs;
use std::path::Path;

use super::dsn::{Host, Upstream};

/// The password that a passfile has for an upstream; `None` where it has none, cannot be read, or others can read it.
pub(super) fn password(file: &Path, upstream: &Upstream) -> Option<String> {
    if !is_private(file) {
        return None;
    }
    let text = fs::read_to_string(file).ok()?;
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| matching(line, upstream))
}

/// libpq ignores a passfile that group or world may read: none of the six lower bits may be set.
fn is_private(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode().trailing_zeros() >= 6)
}

/// The last field of a line whose other fields fit: `host:port:database:user:password`.
fn matching(line: &str, upstream: &Upstream) -> Option<String> {
    let mut fields = fields(line).into_iter();
    let mut next_is = |wanted: Option<&str>| {
        let field = fields.next()?;
        (field == "*" || Some(field.as_str()) == wanted).then_some(())
    };
    let host = match &upstream.host {
        Host::Tcp(name) => name.clone(),
        // The default socket directory is looked up as localhost.
        Host::Unix(dir) if dir == Path::new(super::dsn::SOCKET_DIR) => "localhost".to_owned(),
        Host::Unix(dir) => dir.display().to_string(),
    };
    next_is(Some(&host))?;
    next_is(Some(&upstream.port.to_string()))?;
    // libpq's database defaults to the user.
    next_is(upstream.database.as_deref().or(upstream.user.as_deref()))?;
    next_is(upstream.user.as_deref())?;
    fields.next()
}

/// Fields between colons; a backslash takes a colon or a backslash literally.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        let literal = match letter {
            '\\' => letters.next(),
            ':' if fields.len() < 5 => {
                fields.push(String::new());
                continue;
            }
            letter => Some(letter),
        };
        if let Some(field) = fields.last_mut() {
            field.extend(literal);
        }
    }
    fields
}
