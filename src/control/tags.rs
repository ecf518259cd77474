//! Derived tags, reviewed by operators: what personal data was copied to.

use serde_json::{Value, json};

use super::{ActError, Control, act};
use crate::approvals::{Method, Operator};
use crate::backend::memory::{DerivedTag, Review};

/// An operator's word on a derived tag.
#[derive(Clone, Debug)]
pub struct TagReview {
    /// The tag's number.
    pub id: u64,
    /// Whether it is right.
    pub review: Review,
    /// Why.
    pub reason: Option<String>,
    /// By what surface.
    pub method: Method,
}

impl Control {
    /// Derived tags of one state, or all of them; the oldest first.
    #[must_use]
    pub fn tags(&self, state: Option<Review>) -> Vec<DerivedTag> {
        let mut all = self.parts.tags.list();
        all.retain(|derived| state.is_none_or(|state| derived.review == state));
        all
    }

    /// Confirms or dismisses a derived tag. It is on disk in the log before it counts.
    ///
    /// # Errors
    /// A viewer, no such tag, or a log or memory that cannot be written.
    pub async fn review(&self, operator: &Operator, request: TagReview) -> Result<DerivedTag, ActError> {
        if !operator.may_decide() {
            return Err(ActError::NotAnOperator);
        }
        let derived = self.parts.tags.get(request.id).ok_or(ActError::NoTag)?;
        let word = if request.review == Review::Dismissed { "dismiss-tag" } else { "confirm-tag" };
        let sentence = format!("{word} {}: {} of {}.{}", derived.id, derived.tag, derived.database, derived.column);
        let mut record = act(operator, word, request.method, sentence);
        record.database = Some(derived.database.clone());
        if let Some(approval) = &mut record.approval {
            approval.reason = request.reason;
        }
        self.record(record).await?;
        let reviewed = self.parts.tags.review(request.id, request.review, operator.name.clone()).await;
        reviewed.map_err(ActError::Memory)?.ok_or(ActError::NoTag)
    }
}

/// The word of a review.
#[must_use]
pub fn state(word: &str) -> Option<Review> {
    [Review::Open, Review::Confirmed, Review::Dismissed].into_iter().find(|review| review.as_str() == word)
}

/// A derived tag as the API gives it.
#[must_use]
pub fn contract(derived: &DerivedTag) -> Value {
    json!({
        "id": derived.id,
        "database": derived.database,
        "column": derived.column.to_string(),
        "tag": &*derived.tag,
        "state": derived.review.as_str(),
        "sources": derived.sources,
        "statement": derived.statement,
        "at": derived.at,
        "reviewed_by": derived.reviewed_by,
    })
}
