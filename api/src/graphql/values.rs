//! How values print. [`Personal`] is the single GraphQL type for personal data: it holds a guarded value and asks the
//! session; there is nothing else in it that a resolver could return.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::parser::types::Field;
use async_graphql::registry::{MetaType, MetaTypeId, Registry};
use async_graphql::resolver_utils::EnumType;
use async_graphql::{
    Context, ContextSelectionSet, Enum, InputValueError, InputValueResult, OutputType, Pos, Positioned, Scalar, ScalarType, ServerError, ServerResult, Value,
};
use chrono::{DateTime, Datelike, Utc};
use entity::vault::Unreadable;
use entity::{Guarded, Session};
use policy::Pii;

use super::rows::Told;
use super::{json, session};

/// A moment that is given: of the years 1 to 9998, which can be reckoned with and stored in any zone.
#[derive(Clone, Copy)]
pub struct Moment(pub DateTime<Utc>);

/// Implement the DateTime<Utc> scalar
///
/// The input/output is a string in RFC3339 format.
#[Scalar(name = "DateTime")]
impl ScalarType for Moment {
    fn parse(value: Value) -> InputValueResult<Self> {
        let read = if let Value::String(text) = &value { DateTime::parse_from_rfc3339(text).ok() } else { None };
        let within = read.map(|at| at.with_timezone(&Utc)).filter(|at| (1..=9998).contains(&at.year()));
        within.map(Self).ok_or_else(|| InputValueError::expected_type(value))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339())
    }
}

/// A personal value on its way out.
pub struct Personal<K>(Guarded<K>, View);

/// What a caller asks for. Masked unless asked otherwise.
#[derive(Enum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// The mask: 138****5678.
    #[default]
    Masked,
    /// The value, where policy and purpose allow; else the mask. The log keeps that it was seen.
    Clear,
}

impl From<View> for policy::View {
    fn from(view: View) -> Self {
        if view == View::Clear { Self::Clear } else { Self::Masked }
    }
}

impl<K: Pii> Personal<K> {
    /// Wraps a guarded value. An option, because the field is nullable: a value that does not open is null beside its error.
    #[expect(clippy::unnecessary_wraps, reason = "the option is what makes the field nullable")]
    pub const fn of(value: Guarded<K>, view: View) -> Option<Self> {
        Some(Self(value, view))
    }

    fn name() -> String {
        let key = K::FIELD.entry().key;
        let word = key.rsplit('.').next().unwrap_or(key);
        word[..1].to_uppercase() + &word[1..]
    }
}

impl<K: Pii> OutputType for Personal<K> {
    fn type_name() -> Cow<'static, str> {
        Cow::Owned(Self::name())
    }

    /// Nullable: who may not see it gets null, not an error.
    fn qualified_type_name() -> String {
        Self::name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        registry.create_output_type::<Self, _>(MetaTypeId::Scalar, |_| {
            let entry = K::FIELD.entry();
            MetaType::Scalar {
                name: Self::name(),
                description: Some(format!(
                    "{} · {} ({}). Personal, class {}; masked as `{}`; null where it may not be seen.",
                    entry.zh,
                    entry.en,
                    entry.shape,
                    entry.class.word(),
                    K::FIELD.masked(entry.example)
                )),
                is_valid: None,
                visible: None,
                inaccessible: false,
                tags: vec![],
                specified_by_url: None,
                directive_invocations: vec![],
                requires_scopes: vec![],
            }
        })
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let session = ctx.data::<Arc<Session>>().map_err(|error| error.into_server_error(field.pos))?;
        match session.show(&self.0, self.1.into()) {
            Ok(shown) => Ok(shown.map_or(Value::Null, Value::String)),
            Err(problem) => Err(ctx.set_error_path(unreadable(problem, field.pos))),
        }
    }
}

impl<K: Pii> Told for Personal<K> {
    fn write(self, ctx: &Context<'_>, out: &mut Vec<u8>) -> ServerResult<()> {
        let Self(value, view) = self;
        session(ctx).show(&value, view.into()).map_err(|problem| unreadable(problem, ctx.item.pos))?.write(ctx, out)
    }
}

/// A value that does not open.
fn unreadable(problem: Unreadable, pos: Pos) -> ServerError {
    ServerError { source: Some(Arc::new(problem)), ..ServerError::new("unreadable", Some(pos)) }
}

/// Enumerations are written as their words.
macro_rules! words {
    ($($Word:ty)*) => {
        $(impl Told for $Word {
            fn write(self, _: &Context<'_>, out: &mut Vec<u8>) -> ServerResult<()> {
                json::serialize(&<Self as EnumType>::items().iter().find(|item| item.value == self).map(|item| item.name), out);
                Ok(())
            }
        })*
    };
}
words! { CustomerType Status ValueTier Channel }

/// 客户类型: person or company.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "policy::CustomerType")]
pub enum CustomerType {
    /// 个人.
    Person,
    /// 企业.
    Company,
}

/// 客户状态: where a customer stands.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "policy::Status")]
pub enum Status {
    /// 潜在客户.
    Prospect,
    /// 成交客户.
    Won,
    /// 流失客户.
    Lost,
}

/// 客户价值等级: how much a customer is worth.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "policy::ValueTier")]
pub enum ValueTier {
    /// 高.
    High,
    /// 中.
    Medium,
    /// 低.
    Low,
}

/// 来源渠道: where a customer first came from.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "policy::Channel")]
pub enum Channel {
    /// 官网.
    Website,
    /// 门店.
    Shop,
    /// 电商平台.
    Ecommerce,
    /// 推荐/转介绍.
    Referral,
    /// 展会.
    Exhibition,
    /// 官网搜索.
    Search,
    /// 电话营销.
    Telesales,
}
