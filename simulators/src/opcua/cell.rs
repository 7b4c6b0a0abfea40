//! One tag of the profile as the simulated server has it: how it moves, and what its numbers mean.

use std::sync::Arc;

use opcua::types::Variant;
use tidegate_config::Tag;
use tidegate_model::{TagName, ValueKind};

use super::kind::Kind;
use crate::{
    motion::{Moment, Motion},
    noise::mix,
    plausible,
    scaling::Scale,
};

/// A tag of the server.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) name: TagName,
    pub(crate) kind: Kind,
    /// Number of items of an array.
    pub(crate) items: Option<u32>,
    scale: Option<Scale>,
    has_texts: bool,
    motion: Motion,
    /// Steps of one unit that the moving value is rounded to, so that it reads like one of a device.
    rounding: Option<f64>,
    all_change: bool,
    seed: u64,
    text: Arc<str>,
}

impl Cell {
    /// The cell of a tag.
    pub(crate) fn new(tag: &Tag, kind: Kind, items: Option<u32>, all_change: bool, seed: u64) -> Cell {
        let scale = tag.scaling.as_ref().map(|scaling| Scale::new(scaling));
        let motion = plausible::motion(tag, kind.holds(), scale.as_ref(), all_change);
        let is_float = matches!(kind.holds().kind, ValueKind::F32 | ValueKind::F64);
        Cell {
            name: tag.name.clone(),
            rounding: is_float.then(|| plausible::rounding(&motion)),
            motion,
            has_texts: tag.texts.is_some(),
            scale,
            all_change: all_change && is_float,
            text: tag.name.as_str().into(),
            kind,
            items,
            seed,
        }
    }

    /// Whether the value moves by itself.
    pub(crate) fn moves(&self) -> bool {
        let stands = matches!(self.motion, Motion::Constant(_)) && !self.all_change;
        !stands && self.kind.is_number()
    }

    /// The value at this moment.
    pub(crate) fn value(&self, moment: Moment) -> Variant {
        match self.items {
            None => self.item(self.seed, moment),
            Some(items) => {
                let values = (0..items).map(|item| self.item(mix(self.seed, u64::from(item)), moment));
                Variant::from((self.kind.id(), values.collect::<Vec<Variant>>()))
            }
        }
    }

    fn item(&self, seed: u64, moment: Moment) -> Variant {
        match self.kind.is_number() {
            true => self.kind.number(self.number(seed, moment)),
            false => self.kind.text(&self.text, moment),
        }
    }

    /// The device's number at this moment.
    fn number(&self, seed: u64, moment: Moment) -> f64 {
        let delivered = self.motion.at(seed, moment);
        let delivered = match (self.rounding, self.all_change) {
            (None, _) => delivered,
            (Some(steps), false) => (delivered * steps).round() / steps,
            // Odd and even steps by turns: never the same twice.
            (Some(steps), true) => ((delivered * steps / 2.0).floor() * 2.0 + f64::from(moment.step & 1)) / steps,
        };
        match &self.scale {
            Some(scale) if !self.has_texts => scale.undo(delivered),
            _ => delivered,
        }
    }
}
