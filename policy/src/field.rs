//! The data dictionary: every governed field once.
//!
//! The permission name, the GraphQL description, the import column, the dictionary row and the audit label all
//! derive from this table. A personal field carries its mask and its parser; a field without a rule in the policy is hidden.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kind::dictionary;
use crate::mask;

/// How a field is classified (PIPL article 51). Everything but [`Class::Open`] is personal and sealed at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Not personal by itself; decided by policy all the same.
    Open,
    /// Tells who a person is.
    Identity,
    /// Reaches a person.
    Contact,
    /// Tells where a person lives.
    Location,
    /// Free text, which may hold anything.
    FreeText,
}

impl Class {
    /// The word that the dictionary and the audit log use.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Identity => "identity",
            Self::Contact => "contact",
            Self::Location => "location",
            Self::FreeText => "free text",
        }
    }
}

/// One row of the dictionary.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// `Customer.phone`: what rules, events and the import mapping call it.
    pub key: &'static str,
    /// Chinese label.
    pub zh: &'static str,
    /// English label.
    pub en: &'static str,
    /// Classification.
    pub class: Class,
    /// Type, length and allowed values in words.
    pub shape: &'static str,
    /// An invented example.
    pub example: &'static str,
    /// The standard followed, or empty.
    pub standard: &'static str,
    /// The mask of a personal field. Total: any text in, never the hidden part out.
    pub mask: Option<fn(&str) -> String>,
}

dictionary! {
    personal {
        Name "Customer.name" "客户姓名" "Full name" Identity "text, 2 to 40 characters; · kept in minority names" "张小明" "GB/T 22466" mask::name, crate::clean::name::full;
        Phone "Customer.phone" "手机号" "Mobile number" Contact "11 digits" "13812345678" "YD/T 3000 numbering plan" mask::phone, crate::clean::phone::mobile;
        Landline "Customer.landline" "固定电话" "Landline number" Contact "area code-number" "010-62345678" "YD/T 3000 numbering plan" mask::landline, crate::clean::phone::landline;
        Email "Customer.email" "邮箱" "E-mail address" Contact "text, at most 254 characters" "ming@example.com" "RFC 5321" mask::email, crate::clean::email::address;
        Address "Customer.address" "地址" "Postal address" Location "province|city|district|detail" "浙江省|杭州市|西湖区|文三路1号" "GB/T 2260" mask::address, crate::clean::address::text;
        Remarks "Customer.remarks" "备注" "Remarks" FreeText "text" "周末联系" "" mask::hidden, crate::clean::text::free;
        Summary "Contact.summary" "沟通内容" "What was said at a contact" FreeText "text" "已寄样品" "" mask::hidden, crate::clean::text::free;
        Body "Ticket.body" "问题描述" "Text of a ticket" FreeText "text" "包装破损" "" mask::hidden, crate::clean::text::free;
        FamilyName "Source.familyName" "姓氏" "Family name, where only that is known" Identity "one or two characters" "王" "" mask::hidden, crate::clean::text::free;
        Raw "Source.raw" "原始行" "The source row as it came" FreeText "JSON array of cells" "[…]" "RFC 8259" mask::hidden, crate::clean::text::free;
        Traits "Source.traits" "匹配特征" "What is compared beside the standard fields" Identity "JSON object of attribute and value" "{…}" "RFC 8259" mask::hidden, crate::clean::text::free;
    }
    open {
        Number "Customer.number" "客户编号" "Human number" "C + date + daily sequence, unique in the tenant" "C20240501001" "";
        CustomerType "Customer.type" "客户类型" "Customer type" "1 person 个人, 2 company 企业" "1" "";
        Company "Customer.company" "公司名称" "Company" "text, legal suffix normalised for matching" "杭州和润软件有限公司" "";
        Industry "Customer.industry" "所属行业" "Industry" "section + division; 待完善 when unknown" "I65" "GB/T 4754-2017";
        Channel "Customer.channel" "来源渠道" "Source channel" "1 website 官网, 2 shop 门店, 3 e-commerce 电商平台, 4 referral 推荐, 5 exhibition 展会, 6 search 官网搜索, others by tenant" "5" "";
        FirstFollowUp "Customer.firstFollowUp" "首次跟进时间" "First follow-up" "date YYYY-MM-DD" "2024-05-01" "GB/T 7408";
        Status "Customer.status" "客户状态" "Status" "prospect 潜在客户, won 成交客户, lost 流失客户" "prospect" "";
        ValueTier "Customer.valueTier" "客户价值等级" "Value tier" "1 high, 2 medium, 3 low; computed" "1" "";
        Owner "Customer.owner" "负责人" "Owner" "a user of the tenant; the department follows" "李经理" "";
        Tags "Customer.tags" "标签" "Tags" "name + category" "老客户" "";
        UpdatedAt "Customer.updatedAt" "最后更新时间" "Updated at" "instant, RFC 3339" "2024-05-01T08:00:00Z" "GB/T 7408";
        Quality "Customer.quality" "数据质量" "Completeness and quality score" "0 to 100, with issues" "86" "";
        Provenance "Customer.provenance" "字段来源" "Why each value won" "field, source, rule" "phone, sales, newest" "";
        Sources "Customer.sources" "来源记录" "Source records (lineage)" "system, external id, import, line" "sales, 1024" "";
        Relations "Customer.relations" "客户关系" "Relations" "household, colleague, referrer" "colleague" "";
        Consents "Customer.consents" "授权同意" "Consents" "purpose, version, given, withdrawn" "marketing" "GB/T 42574";
        SeenBy "Customer.seenBy" "访问记录" "Who has looked at this customer" "from the audit log" "u-7 masked" "";
        OrderNumber "Order.number" "订单编号" "Order number" "text" "E20240501000001" "";
        OrderAmount "Order.amount" "金额" "Amount" "decimal, two places" "199.00" "";
        OrderedAt "Order.orderedAt" "下单时间" "Ordered at" "instant" "2024-05-01T08:00:00Z" "GB/T 7408";
        OrderStatus "Order.status" "订单状态" "Order status" "text of the source" "交易成功" "";
        OrderItems "Order.items" "商品" "Items" "text" "保温杯 ×2" "";
        ContactAt "Contact.at" "沟通时间" "Contact time" "instant" "2024-05-01T08:00:00Z" "GB/T 7408";
        ContactChannel "Contact.channel" "沟通方式" "Contact channel" "text" "phone" "";
        ContactBy "Contact.by" "跟进人" "Contact by" "a user of the tenant" "李经理" "";
        ContactResult "Contact.result" "沟通结果" "Contact result" "text" "已约访" "";
        TicketNumber "Ticket.number" "工单号" "Ticket number" "text" "T24050100001" "";
        TicketOpenedAt "Ticket.openedAt" "提交时间" "Ticket opened at" "instant" "2024-05-01T08:00:00Z" "GB/T 7408";
        TicketType "Ticket.type" "问题类型" "Ticket type" "text" "退换货" "";
        TicketStatus "Ticket.status" "工单状态" "Ticket status" "text" "已解决" "";
        TicketSatisfaction "Ticket.satisfaction" "满意度" "Satisfaction" "1 to 5" "5" "";
    }
}

impl Field {
    /// The field whose key is `key`.
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.entry().key == key)
    }

    /// Whether values of this field are personal data.
    #[must_use]
    pub fn personal(self) -> bool {
        (self as usize) < Self::PERSONAL
    }

    /// What a caller gets to see who may see the field masked.
    #[must_use]
    pub fn masked(self, clear: &str) -> String {
        self.entry().mask.map_or_else(|| clear.to_owned(), |mask| mask(clear))
    }
}

/// As its key.
impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.entry().key)
    }
}

/// From its key. The error does not quote what stood there instead, which may be anything.
impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        Self::of_key(&key).ok_or_else(|| serde::de::Error::custom("not a field, expected a key of the data dictionary"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_personal_field_has_a_mask_and_every_key_is_unique() {
        let mut keys = HashSet::new();
        for field in Field::ALL {
            let entry = field.entry();
            assert_eq!(field.personal(), entry.mask.is_some(), "{}", entry.key);
            assert_eq!(field.personal(), entry.class != Class::Open, "{}", entry.key);
            assert!(keys.insert(entry.key), "{} twice", entry.key);
            assert!(!entry.zh.is_empty() && !entry.en.is_empty() && !entry.shape.is_empty(), "{}", entry.key);
            assert_eq!(Field::of_key(entry.key), Some(*field));
        }
    }
}
