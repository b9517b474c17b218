//! The code lists of the dictionary: closed sets with a number or word, and the labels in both languages.

/// Declares a closed code list.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident $code:literal $zh:literal [$($alias:literal),*];)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }
        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// What is stored.
            #[must_use]
            pub const fn code(self) -> i16 { match self { $(Self::$variant => $code,)+ } }
            /// The Chinese label.
            #[must_use]
            pub const fn zh(self) -> &'static str { match self { $(Self::$variant => $zh,)+ } }
            /// The value of a stored code.
            #[must_use]
            pub fn of_code(code: i16) -> Option<Self> { Self::ALL.iter().copied().find(|v| v.code() == code) }
            /// The words that mean a value: its label and the known aliases.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($zh, Self::$variant), $(($alias, Self::$variant),)*)+];
            /// The value whose code a text is.
            #[must_use]
            pub fn of_number(text: &str) -> Option<Self> { text.parse().ok().and_then(Self::of_code) }
            /// The value that a source calls by this word: its code, label or a known alias.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Self> {
                let word = word.trim();
                Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, value)| *value).or_else(|| Self::of_number(word))
            }
        }
    };
}

codes! {
    /// Person or company.
    CustomerType {
        /// A natural person.
        Person 1 "个人" ["个人客户", "自然人", "person", "individual"];
        /// A company.
        Company 2 "企业" ["企业客户", "公司", "单位", "机构", "组织", "法人", "company", "enterprise", "organization"];
    }
}

codes! {
    /// Where a customer first came from.
    Channel {
        /// The company's own website.
        Website 1 "官网" ["网站", "website"];
        /// A shop.
        Shop 2 "门店" ["线下门店", "店铺", "shop"];
        /// An e-commerce platform.
        Ecommerce 3 "电商平台" ["网店", "淘宝", "天猫", "京东", "拼多多", "电商"];
        /// A referral.
        Referral 4 "推荐" ["转介绍", "推荐/转介绍", "老客户介绍", "朋友介绍", "referral"];
        /// A trade fair.
        Exhibition 5 "展会" ["会展", "展览会", "展销会", "exhibition"];
        /// The search box of the website.
        Search 6 "官网搜索" ["搜索", "百度", "search"];
        /// A sales call.
        Telesales 7 "电话营销" ["电销", "telesales"];
    }
}

codes! {
    /// Where a customer stands.
    Status {
        /// Not bought yet.
        Prospect 1 "潜在客户" ["意向客户", "意向", "潜在", "prospect"];
        /// Has bought.
        Won 2 "成交客户" ["成交", "已成交", "won"];
        /// Has left.
        Lost 3 "流失客户" ["流失", "已流失", "lost"];
    }
}

codes! {
    /// How much a customer is worth.
    ValueTier {
        /// High value.
        High 1 "高" ["high"];
        /// Medium value.
        Medium 2 "中" ["medium"];
        /// Low value.
        Low 3 "低" ["low"];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_a_code_and_a_label_name_the_same_value() {
        for (word, want) in [("会展", Channel::Exhibition), ("5", Channel::Exhibition), ("老客户介绍", Channel::Referral), ("电销", Channel::Telesales)]
        {
            assert_eq!(Channel::of_word(word), Some(want), "{word}");
        }
        assert_eq!(Status::of_word("意向客户"), Some(Status::Prospect));
        assert_eq!(Status::of_word("无所谓"), None);
        for channel in Channel::ALL {
            assert_eq!(Channel::of_word(channel.zh()), Some(*channel));
            assert_eq!(Channel::of_code(channel.code()), Some(*channel));
        }
    }
}
