//! Where in the queue the names stand that the current batch makes, so that a long batch is not searched for each of them.

use super::Request;
use crate::session::table::Table;

/// Statements and portals of the batch, by the number of the frame that makes them.
#[derive(Debug, Default)]
pub(super) struct Recent {
    statements: Table<u64>,
    portals: Table<u64>,
}

impl Recent {
    /// A frame was put on its way. The newest of a name counts.
    pub(super) fn forwarded(&mut self, request: &Request, number: u64) {
        match request {
            Request::Parse(name, _) => {
                self.statements.insert(name.clone(), number);
            }
            Request::Bind(name, _) => {
                self.portals.insert(name.clone(), number);
            }
            request if request.ends_batch() => self.forget(),
            _ => {}
        }
    }

    /// The Parse of this name.
    pub(super) fn statement(&self, name: &[u8]) -> Option<u64> {
        self.statements.get(name).copied()
    }

    /// The Bind of this name.
    pub(super) fn portal(&self, name: &[u8]) -> Option<u64> {
        self.portals.get(name).copied()
    }

    /// A batch has ended.
    fn forget(&mut self) {
        self.statements.clear();
        self.portals.clear();
    }
}
