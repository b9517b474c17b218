//! What a column can hold, what a row can tell of, and how two cells can be compared: the vocabulary of mappings.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::Comparator;

/// What a source column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// What the source calls the row.
    ExternalId,
    /// A person's name.
    Name,
    /// The given name, where the source keeps the parts of a name apart: joined with [`Target::Surname`] to a name.
    GivenName,
    /// The family name, where the source keeps the parts of a name apart.
    Surname,
    /// A telephone number of any sort.
    Phone,
    /// A landline beside the mobile number.
    Landline,
    /// An e-mail address.
    Email,
    /// A company name.
    Company,
    /// Person or company.
    CustomerType,
    /// An industry, as code, name or word.
    Industry,
    /// A source channel.
    Channel,
    /// The name of an exhibition.
    Exhibition,
    /// The date of an exhibition.
    ExhibitionDate,
    /// The first follow-up.
    FirstFollowUp,
    /// A customer status.
    Status,
    /// The name of the user who looks after the customer.
    Owner,
    /// When the source last changed the row.
    UpdatedAt,
    /// Free text about the customer.
    Remarks,
    /// A postal address.
    Address,
    /// A part of a postal address. The one target of several columns: they are joined in the order of the columns.
    AddressPart,
    /// An amount of money.
    Amount,
    /// When what the row tells of happened.
    OccurredAt,
    /// What was ordered.
    Items,
    /// How many were ordered.
    Quantity,
    /// Where an order or ticket stands, in the source's words.
    State,
    /// What a ticket is about.
    Topic,
    /// What a customer wrote.
    Body,
    /// 1 to 5.
    Satisfaction,
    /// A member level, kept as a tag.
    Level,
    /// A place of business, kept as a tag.
    Place,
    /// Tags in the source's words.
    Tags,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 31] = [
        Self::ExternalId,
        Self::Name,
        Self::GivenName,
        Self::Surname,
        Self::Phone,
        Self::Landline,
        Self::Email,
        Self::Company,
        Self::CustomerType,
        Self::Industry,
        Self::Channel,
        Self::Exhibition,
        Self::ExhibitionDate,
        Self::FirstFollowUp,
        Self::Status,
        Self::Owner,
        Self::UpdatedAt,
        Self::Remarks,
        Self::Address,
        Self::AddressPart,
        Self::Amount,
        Self::OccurredAt,
        Self::Items,
        Self::Quantity,
        Self::State,
        Self::Topic,
        Self::Body,
        Self::Satisfaction,
        Self::Level,
        Self::Place,
        Self::Tags,
    ];

    /// The word of mapping files, and the Chinese label.
    const fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::ExternalId => ("external_id", "编号"),
            Self::Name => ("name", "姓名"),
            Self::GivenName => ("given_name", "名"),
            Self::Surname => ("surname", "姓"),
            Self::Phone => ("phone", "手机"),
            Self::Landline => ("landline", "固定电话"),
            Self::Email => ("email", "邮箱"),
            Self::Company => ("company", "公司"),
            Self::CustomerType => ("customer_type", "客户类型"),
            Self::Industry => ("industry", "行业"),
            Self::Channel => ("channel", "来源渠道"),
            Self::Exhibition => ("exhibition", "展会名称"),
            Self::ExhibitionDate => ("exhibition_date", "展会日期"),
            Self::FirstFollowUp => ("first_follow_up", "首次跟进时间"),
            Self::Status => ("status", "客户状态"),
            Self::Owner => ("owner", "负责人"),
            Self::UpdatedAt => ("updated_at", "最后更新时间"),
            Self::Remarks => ("remarks", "备注"),
            Self::Address => ("address", "地址"),
            Self::AddressPart => ("address_part", "地址的一部分"),
            Self::Amount => ("amount", "金额"),
            Self::OccurredAt => ("occurred_at", "发生时间"),
            Self::Items => ("items", "商品"),
            Self::Quantity => ("quantity", "数量"),
            Self::State => ("state", "订单或工单状态"),
            Self::Topic => ("topic", "问题类型"),
            Self::Body => ("body", "问题描述"),
            Self::Satisfaction => ("satisfaction", "满意度"),
            Self::Level => ("level", "会员等级"),
            Self::Place => ("place", "门店"),
            Self::Tags => ("tags", "标签"),
        }
    }

    /// What mapping files call it: `external_id`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        self.entry().0
    }

    /// The Chinese label.
    #[must_use]
    pub const fn zh(self) -> &'static str {
        self.entry().1
    }

    /// The target of a word of a mapping file.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.word() == word)
    }

    /// What someone who wrote `word` most likely meant: what a header of this word means, else the most similar word.
    #[must_use]
    pub fn nearest(word: &str) -> Self {
        super::synonyms::meant(word).or_else(|| Self::ALL.into_iter().min_by_key(|target| edits(word, target.word()))).unwrap_or(Self::Remarks)
    }

    /// How cells of this target are compared where no telephone number or e-mail address tells who a row is.
    pub(super) const fn comparator(self) -> Option<Comparator> {
        match self {
            Self::Name | Self::GivenName | Self::Surname => Some(Comparator::Name),
            Self::Company => Some(Comparator::Organisation),
            Self::Address | Self::AddressPart => Some(Comparator::Words),
            Self::Phone | Self::Landline => Some(Comparator::Digits),
            Self::Email => Some(Comparator::Exact),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Words)
    }
}

/// Reads the word of a target where it stands, so that an error is reported at its line.
struct Words;

impl de::Visitor<'_> for Words {
    type Value = Target;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a standard field")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Target, E> {
        Target::of_word(word).ok_or_else(|| {
            let known: Vec<&str> = Target::ALL.iter().map(|target| target.word()).collect();
            let shown: String = word.chars().take(60).collect();
            E::custom(format!("'{shown}' is no standard field; did you mean '{}'? Known are {}", Target::nearest(&shown).word(), known.join(", ")))
        })
    }
}

/// What a row of the source tells of, beside the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tells {
    /// A first follow-up: a contact record.
    FollowUp,
    /// An order.
    Order,
    /// A ticket.
    Ticket,
    /// Nothing more.
    Membership,
}

/// How many characters must be put in, taken out or replaced to turn one word into the other.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_names_its_target_and_serde_agrees() {
        for target in Target::ALL {
            assert_eq!(Target::of_word(target.word()), Some(target));
            assert_eq!(serde_json::to_value(target).unwrap(), target.word());
        }
        assert_eq!(Target::of_word("Phone"), None);
    }

    #[test]
    fn a_wrong_word_has_a_nearest() {
        for (word, want) in [
            ("fone", Target::Phone),
            ("mobile", Target::Phone),
            ("手机号", Target::Phone),
            ("e_mail", Target::Email),
            ("externalid", Target::ExternalId),
            ("adress", Target::Address),
            ("first_followup", Target::FirstFollowUp),
            ("satisfacton", Target::Satisfaction),
        ] {
            assert_eq!(Target::nearest(word), want, "{word}");
        }
        assert_eq!((edits("", "abc"), edits("abc", ""), edits("kitten", "sitting")), (3, 3, 3));
    }
}
