//! What the cache looks for in a body while its canonical text is made: whether the response depends on the request
//! alone, and, where the configuration has them, `ignore` and `unless`. A route without these two pays nothing for
//! them: the parser is compiled once for each.

use super::Config;
use super::pointer::{PointerPosition, PointerTree};
use super::statefulness::{Statefulness, StatefulnessPosition};
use super::unless::{Unless, UnlessPosition, UnlessVisitor};
use crate::exchange::BypassReason;
use crate::model::json::{Container, Interest, JsonPosition, JsonValue, Visitor};
use crate::model::operation::Operation;

/// A visitor that also decides which values are left out of the canonical text.
pub(super) trait BodyRules: Visitor {
    /// The position of the element `index` of the array at `of`.
    fn element_at(&mut self, of: Self::Position, index: usize) -> Self::Position;

    /// Whether the value at this position is no part of the key.
    fn is_left_out(at: Self::Position) -> bool;

    /// Why the cache is not used for a request with the body that was visited.
    fn bypass(&self) -> Option<BypassReason>;
}

impl BodyRules for Statefulness {
    #[inline]
    fn element_at(&mut self, of: StatefulnessPosition, _index: usize) -> StatefulnessPosition {
        self.element(of)
    }

    #[inline]
    fn is_left_out(_at: StatefulnessPosition) -> bool {
        false
    }

    fn bypass(&self) -> Option<BypassReason> {
        (!self.is_none()).then_some(BypassReason::Stateful)
    }
}

/// What a route with `ignore` or `unless` looks for in bodies.
#[derive(Debug)]
pub(super) struct BodySettings {
    unless: Unless,
    ignored: PointerTree,
}

impl BodySettings {
    /// `None` if the route has neither.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let is_needed = !config.ignore.is_empty() || !config.unless.is_empty();
        is_needed.then(|| BodySettings {
            unless: config.unless,
            ignored: PointerTree::new(&config.ignore),
        })
    }

    /// The rules for one body.
    pub(super) fn rules(&self, operation: Option<Operation>) -> ConfiguredRules<'_> {
        ConfiguredRules {
            statefulness: Statefulness::new(operation),
            unless: UnlessVisitor::new(self.unless, operation),
            ignored: &self.ignored,
        }
    }
}

/// The rules of a route with `ignore` or `unless`.
pub(super) struct ConfiguredRules<'c> {
    statefulness: Statefulness,
    unless: UnlessVisitor,
    ignored: &'c PointerTree,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) struct RulesPosition {
    statefulness: StatefulnessPosition,
    unless: UnlessPosition,
    pointer: PointerPosition,
}

impl JsonPosition for RulesPosition {
    const ROOT: Self = RulesPosition {
        statefulness: StatefulnessPosition::ROOT,
        unless: UnlessPosition::ROOT,
        pointer: PointerPosition::ROOT,
    };
    const IGNORED: Self = RulesPosition {
        statefulness: StatefulnessPosition::IGNORED,
        unless: UnlessPosition::IGNORED,
        pointer: PointerPosition::Outside,
    };

    fn interest(self) -> Interest {
        match self.statefulness.interest() {
            Interest::Nothing => self.unless.interest(),
            interest => interest,
        }
    }
}

/// The position with what has been left out hidden from the check of statefulness: a session's id that changes no
/// response makes none stateful.
fn hidden(at: RulesPosition) -> RulesPosition {
    match at.pointer {
        PointerPosition::Matched => RulesPosition {
            statefulness: StatefulnessPosition::IGNORED,
            ..at
        },
        PointerPosition::Node(_) | PointerPosition::Outside => at,
    }
}

impl Visitor for ConfiguredRules<'_> {
    type Position = RulesPosition;

    fn member(&mut self, of: RulesPosition, name: &[u8]) -> RulesPosition {
        hidden(RulesPosition {
            statefulness: member(&mut self.statefulness, of.statefulness, name),
            unless: member(&mut self.unless, of.unless, name),
            pointer: self.ignored.member(of.pointer, name),
        })
    }

    fn element(&mut self, of: RulesPosition) -> RulesPosition {
        self.element_at(of, usize::MAX)
    }

    fn open(&mut self, at: RulesPosition, container: Container) {
        if at.statefulness != StatefulnessPosition::IGNORED {
            self.statefulness.open(at.statefulness, container);
        }
    }

    fn close(&mut self, at: RulesPosition, container: Container) {
        if at.statefulness != StatefulnessPosition::IGNORED {
            self.statefulness.close(at.statefulness, container);
        }
    }

    fn value(&mut self, at: RulesPosition, value: JsonValue<'_>) {
        if at.statefulness.interest() != Interest::Nothing {
            self.statefulness.value(at.statefulness, value);
        }
        if at.unless.interest() != Interest::Nothing {
            self.unless.value(at.unless, value);
        }
    }
}

impl BodyRules for ConfiguredRules<'_> {
    fn element_at(&mut self, of: RulesPosition, index: usize) -> RulesPosition {
        hidden(RulesPosition {
            statefulness: match of.statefulness {
                StatefulnessPosition::IGNORED => StatefulnessPosition::IGNORED,
                of => self.statefulness.element(of),
            },
            unless: match of.unless {
                UnlessPosition::IGNORED => UnlessPosition::IGNORED,
                of => self.unless.element(of),
            },
            pointer: self.ignored.element(of.pointer, index),
        })
    }

    fn is_left_out(at: RulesPosition) -> bool {
        at.pointer == PointerPosition::Matched
    }

    fn bypass(&self) -> Option<BypassReason> {
        let stateful = self.statefulness.bypass();
        stateful.or_else(|| self.unless.bypass())
    }
}

fn member<V: Visitor>(visitor: &mut V, of: V::Position, name: &[u8]) -> V::Position {
    match of == V::Position::IGNORED {
        true => of,
        false => visitor.member(of, name),
    }
}
