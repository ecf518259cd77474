//! What is told of a hold.

use crate::approvals::HoldState;

/// A step of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It waits for a decision.
    Created,
    /// A person, or as many as it takes, decided.
    Decided,
    /// Nobody decided, or nobody spent it, in time.
    Expired,
    /// Who asked went away.
    Withdrawn,
    /// What the approval was bound to has changed.
    Void,
    /// It goes to the server.
    Released,
    /// It ran, failed, or its outcome cannot be known.
    Ended,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Created, Self::Decided, Self::Expired, Self::Withdrawn, Self::Void, Self::Released, Self::Ended];

    /// The step that leads to a state.
    #[must_use]
    pub const fn of(state: HoldState) -> Self {
        match state {
            HoldState::Pending => Self::Created,
            HoldState::Approved | HoldState::Denied => Self::Decided,
            HoldState::Expired => Self::Expired,
            HoldState::Withdrawn => Self::Withdrawn,
            HoldState::Void => Self::Void,
            HoldState::Released => Self::Released,
            HoldState::Finished | HoldState::Failed | HoldState::Unknown => Self::Ended,
        }
    }

    /// The `type` of a webhook's event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "hold.created",
            Self::Decided => "hold.decided",
            Self::Expired => "hold.expired",
            Self::Withdrawn => "hold.withdrawn",
            Self::Void => "hold.void",
            Self::Released => "hold.released",
            Self::Ended => "hold.ended",
        }
    }

    /// The event of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}
