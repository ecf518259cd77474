//! The table of operations.

use super::{Access, Answer, Form, Operation, Parameter};

const STATES: &str = "^(pending|approved|denied|expired|withdrawn|void|released|finished|failed|unknown)\
                      (,(pending|approved|denied|expired|withdrawn|void|released|finished|failed|unknown))*$";

const HOLD_ID: Parameter =
    Parameter { name: "id", place: "path", description: "The id of the hold, and of its ticket.", form: Form::Id };

const TAG_ID: Parameter = Parameter {
    name: "id",
    place: "path",
    description: "The number of the derived tag.",
    form: Form::Number(1, u32::MAX),
};

const PAGE: [Parameter; 2] = [
    query("cursor", "`next` of the page before.", Form::Pattern("^[0-9]{1,18}$")),
    query("limit", "Holds of one page; 100 unless said.", Form::Number(1, crate::http::holds::LIMIT_MAX)),
];

const IDEMPOTENCY: Parameter = Parameter {
    name: "Idempotency-Key",
    place: "header",
    description: "The same request under the same key gets the same answer, for a day; another one gets 422.",
    form: Form::Pattern("^[!-~]{1,255}$"),
};

const LAST_EVENT: Parameter = Parameter {
    name: "Last-Event-ID",
    place: "header",
    description: "The id of the event after which the stream goes on.",
    form: Form::Pattern("^[0-9a-z]{1,16}-[0-9]{1,18}$"),
};

const fn query(name: &'static str, description: &'static str, form: Form) -> Parameter {
    Parameter { name, place: "query", description, form }
}

const fn filter(name: &'static str) -> Parameter {
    query(name, "As the filter of the same name of `holdgate log query`.", Form::Text)
}

const fn json(schema: &'static str, description: &'static str) -> Answer {
    Answer { status: 200, media: "application/json", schema: Some(schema), description }
}

/// What most operations are.
const GET: Operation = Operation {
    method: "get",
    path: "",
    id: "",
    summary: "",
    access: Access::Operator,
    parameters: &[],
    body: None,
    answer: json("Hold", "The hold."),
    problems: &[],
};

/// Every operation.
pub(in crate::http) const OPERATIONS: &[Operation] = &[
    Operation {
        path: "/api/v1/holds",
        id: "listHolds",
        summary: "A page of holds, the newest first.",
        parameters: &[
            query("state", "States, with commas between them; all unless said.", Form::Pattern(STATES)),
            PAGE[0],
            PAGE[1],
        ],
        answer: json("Holds", "The page."),
        problems: &[422],
        ..GET
    },
    Operation {
        path: "/api/v1/holds/stream",
        id: "followHolds",
        summary: "The steps of holds as server-sent events: `open`, `hold` with a hold as data, `reset` where steps were lost.",
        parameters: &[LAST_EVENT],
        answer: Answer {
            status: 200,
            media: "text/event-stream",
            schema: None,
            description: "The stream; it does not end by itself.",
        },
        ..GET
    },
    Operation {
        path: "/api/v1/holds/{id}",
        id: "showHold",
        summary: "One hold: in full while it is open, masked afterwards.",
        parameters: &[HOLD_ID],
        problems: &[404],
        ..GET
    },
    Operation {
        method: "post",
        path: "/api/v1/holds/{id}/decision",
        id: "decideHold",
        summary: "Approves or denies a hold.",
        parameters: &[HOLD_ID, IDEMPOTENCY],
        body: Some("Decision"),
        problems: &[403, 404, 409],
        ..GET
    },
    Operation {
        method: "post",
        path: "/api/v1/requests",
        id: "requestBundle",
        summary: "Asks for a migration as one bundle: one card, one decision, then each statement once, in order.",
        body: Some("Request"),
        answer: Answer { status: 201, ..json("Hold", "The hold of the bundle.") },
        problems: &[403],
        ..GET
    },
    Operation {
        path: "/api/v1/events",
        id: "queryEvents",
        summary: "Lines of the log. The reading is a line of the log itself.",
        parameters: &[
            filter("since"),
            filter("until"),
            filter("principal"),
            filter("human"),
            filter("agent"),
            filter("database"),
            filter("relation"),
            filter("column"),
            filter("tag"),
            filter("access"),
            filter("kind"),
            filter("verdict"),
            filter("outcome"),
            filter("approver"),
            filter("rule"),
            filter("hold"),
            filter("shape"),
            filter("sensitivity"),
            filter("text"),
            query("cursor", "`next` of the page before: lines older than those.", Form::Pattern("^[0-9]{1,18}$")),
            query("limit", "Lines at most.", Form::Number(1, 10_000)),
        ],
        answer: json("Events", "The lines, in their order."),
        problems: &[422],
        ..GET
    },
    Operation {
        path: "/api/v1/tags",
        id: "listTags",
        summary: "Derived tags: what personal data was copied to.",
        parameters: &[query("state", "One state; all unless said.", Form::Pattern("^(open|confirmed|dismissed)$"))],
        answer: json("Tags", "The derived tags, the oldest first."),
        problems: &[422],
        ..GET
    },
    Operation {
        method: "post",
        path: "/api/v1/tags/{id}/review",
        id: "reviewTag",
        summary: "Confirms or dismisses a derived tag.",
        parameters: &[TAG_ID],
        body: Some("TagReview"),
        answer: json("Tag", "The derived tag."),
        problems: &[403, 404],
        ..GET
    },
    Operation {
        path: "/api/v1/notices",
        id: "listDeadNotices",
        summary: "Notices to webhooks, Slack and Teams that were given up, the newest first.",
        parameters: &[query("limit", "Notices at most.", Form::Number(1, crate::http::notices::LIMIT_MAX))],
        answer: json("Notices", "The notices."),
        problems: &[422],
        ..GET
    },
    Operation {
        method: "post",
        path: "/api/v1/notices/{id}/retry",
        id: "retryNotice",
        summary: "Sends a notice again that was given up.",
        parameters: &[Parameter { description: "The number of the notice.", ..TAG_ID }],
        answer: json("Retried", "It is sent again."),
        problems: &[403, 404],
        ..GET
    },
    Operation {
        method: "post",
        path: "/api/v1/slack/interactions",
        id: "slackInteraction",
        summary: "A click in Slack, with Slack's own signature over the raw body instead of a token.",
        access: Access::Open,
        answer: Answer { status: 200, media: "text/plain", schema: None, description: "It was taken." },
        problems: &[401, 404, 413, 422, 503],
        ..GET
    },
    Operation {
        path: "/api/v1/openapi.json",
        id: "describe",
        summary: "This document.",
        access: Access::Open,
        answer: json("Document", "The document."),
        ..GET
    },
    Operation {
        path: "/livez",
        id: "live",
        summary: "Whether the process answers.",
        access: Access::Open,
        answer: Answer { status: 200, media: "text/plain; charset=utf-8", schema: None, description: "It does." },
        ..GET
    },
    Operation {
        path: "/readyz",
        id: "ready",
        summary: "Whether clients can be served.",
        access: Access::Open,
        answer: json("Readiness", "They can."),
        ..GET
    },
    Operation {
        path: "/metrics",
        id: "metrics",
        summary: "Metrics in Prometheus's text form.",
        access: Access::Open,
        answer: Answer {
            status: 200,
            media: "text/plain; version=0.0.4; charset=utf-8",
            schema: None,
            description: "All families.",
        },
        ..GET
    },
];
