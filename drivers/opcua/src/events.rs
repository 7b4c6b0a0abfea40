//! Events and alarms: what is asked of the server, and how an event becomes a row.

use opcua::types::{
    AttributeId, ContentFilter, DateTime, EventFilter, NodeId, NumericRange, ObjectTypeId, QualifiedName,
    SimpleAttributeOperand, Variant,
};
use tidegate_driver_api::{
    Readings,
    model::{Reason, Value},
};

use crate::{
    convert,
    plan::{ALARM_NAME, GroupTags},
    point::{Point, Role},
    service::number,
};

/// What is asked for beside the fields of the tags, in front of them.
const OWN: [&[&str]; 5] = [&["EventType"], &["Time"], &["SourceName"], &["ConditionName"], &["BranchId"]];

/// The fields that make the rows of a group.
pub(crate) fn filter(tags: &GroupTags) -> EventFilter {
    let own = OWN.iter().map(|path| operand(path.iter().copied()));
    let asked = tags.points.iter().map(|point| match &point.role {
        // The name is made here; what is asked in its place every event has.
        Role::EventField(_) if is_name(point) => operand(["EventId"]),
        Role::EventField(steps) => operand(steps.iter().map(|step| &**step)),
        _ => operand(["EventId"]),
    });
    EventFilter { select_clauses: Some(own.chain(asked).collect()), where_clause: ContentFilter { elements: None } }
}

/// One field, in the type that has it.
fn operand<'a>(path: impl IntoIterator<Item = &'a str>) -> SimpleAttributeOperand {
    let path: Vec<QualifiedName> = path.into_iter().map(|step| QualifiedName::new(0, step)).collect();
    let first = path.first().map_or("", |step| step.name.as_ref());
    let of = match first {
        "ConditionId" => {
            return SimpleAttributeOperand {
                type_definition_id: NodeId::from(ObjectTypeId::ConditionType),
                browse_path: Some(Vec::new()),
                attribute_id: number(AttributeId::NodeId),
                index_range: NumericRange::None,
            };
        }
        "AckedState" | "ConfirmedState" => ObjectTypeId::AcknowledgeableConditionType,
        "ActiveState" | "SuppressedState" | "ShelvingState" | "InputNode" => ObjectTypeId::AlarmConditionType,
        first if CONDITION.contains(&first) => ObjectTypeId::ConditionType,
        _ => ObjectTypeId::BaseEventType,
    };
    let attribute = AttributeId::Value;
    SimpleAttributeOperand {
        type_definition_id: NodeId::from(of),
        browse_path: Some(path),
        attribute_id: number(attribute),
        index_range: NumericRange::None,
    }
}

/// Fields of conditions (Part 9 §5.5.2), which a plain event does not have.
const CONDITION: [&str; 10] = [
    "ConditionName",
    "BranchId",
    "Retain",
    "EnabledState",
    "Quality",
    "LastSeverity",
    "Comment",
    "ClientUserId",
    "ConditionClassName",
    "ConditionClassId",
];

/// Which of the events it is that say something about events: those that frame a refresh, and that some are missing.
pub(crate) fn frame(fields: &[Variant]) -> Option<ObjectTypeId> {
    let Some(Variant::NodeId(kind)) = fields.first() else { return None };
    let frames = [
        ObjectTypeId::RefreshStartEventType,
        ObjectTypeId::RefreshEndEventType,
        ObjectTypeId::RefreshRequiredEventType,
        ObjectTypeId::EventQueueOverflowEventType,
    ];
    frames.into_iter().find(|frame| **kind == *frame)
}

/// Notes what an event says.
pub(crate) fn note(tags: &GroupTags, fields: &[Variant], out: &mut Readings) {
    if let Some(Variant::DateTime(time)) = fields.get(1)
        && !DateTime::is_null(time)
    {
        out.set_device_time(convert::timestamp(time));
    }
    let asked = fields.get(OWN.len()..).unwrap_or_default();
    for (place, point) in tags.points.iter().enumerate() {
        if is_name(point) {
            out.set(point.column, Value::Text(name(fields).into()));
            continue;
        }
        match asked.get(place) {
            None | Some(Variant::Empty | Variant::StatusCode(_)) => {}
            Some(value) => match convert::converted(point, value) {
                Some(value) => out.set(point.column, value),
                None => out.fail(point.column, Reason::InvalidValue),
            },
        }
    }
}

fn is_name(point: &Point) -> bool {
    point.event_field().as_deref() == Some(ALARM_NAME)
}

/// What tells the alarm from the others: its source and its condition; without a condition the kind of the event.
fn name(fields: &[Variant]) -> String {
    let text = |place: usize| match fields.get(place) {
        Some(Variant::String(text)) => text.as_ref().to_owned(),
        _ => String::new(),
    };
    let (source, condition) = (text(2), text(3));
    let kind = || match fields.first() {
        Some(Variant::NodeId(kind)) => kind.to_string(),
        _ => "event".to_owned(),
    };
    let condition = if condition.is_empty() { kind() } else { condition };
    // A branch is an earlier state of the same condition that somebody still has to acknowledge.
    let branch = match fields.get(4) {
        Some(Variant::NodeId(branch)) if !branch.is_null() => format!(".{branch}"),
        _ => String::new(),
    };
    if source.is_empty() { format!("{condition}{branch}") } else { format!("{source}.{condition}{branch}") }
}
