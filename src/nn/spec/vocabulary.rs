//! Declares the words that a spec is written in: each with its fields, defaults and bounds in one place.
//!
//! From one declaration come the structs, their JSON in both directions, their OpenAPI schemas and `ALL`.
//! JSON is always `{"type": NAME, …}` with every field when the server writes it; a client may leave out
//! fields that have defaults, and write the bare name when none is left.

use std::borrow::Cow;

use serde_json::Value;
use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, Discriminator, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};

use super::reader::Reader;

/// Reads one field; on a fault says so and returns `None`.
pub(crate) type ReadField<T> = fn(&mut Reader, &Value, &str) -> Option<T>;

/// Words that have fields: an enum with one struct a word.
///
/// `WORD | ALIAS => Variant(Struct, Type) required { field: T [reader], } optional { field: T [reader] = default, }`
macro_rules! vocabulary {
    (
        $(#[$enum_meta:meta])*
        $what:literal $any:ident $spec:ident {
            $(
                $(#[$meta:meta])*
                $name:literal $(| $alias:literal)* => $variant:ident($entry:ident, $tag:ident)
                $(required { $( $(#[$required_meta:meta])* $required:ident: $required_type:ty [$required_read:expr], )+ })?
                $(optional { $( $(#[$field_meta:meta])* $field:ident: $field_type:ty [$read:expr] = $default:expr, )+ })?
            )+
        }
    ) => {
        $(#[$enum_meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        pub enum $spec {
            $( $variant($entry), )+
        }

        #[doc = concat!("One ", $what, ": its name alone, which stands for all defaults, or an object.")]
        #[derive(Clone, Copy, Debug)]
        pub struct $any;

        $(
            #[doc = concat!("The one value of `type` in a ", stringify!($entry), ".")]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
            pub enum $tag {
                #[default]
                #[serde(rename = $name)]
                $variant,
            }

            // By hand, here and for names: the derive doesn't see a rename that comes through a macro.
            impl utoipa::PartialSchema for $tag {
                fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                    crate::nn::spec::vocabulary::names_schema(&[$name]).into()
                }
            }

            impl utoipa::ToSchema for $tag {}

            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema)]
            pub struct $entry {
                #[serde(rename = "type")]
                #[schema(inline)]
                pub kind: $tag,
                $($( $(#[$required_meta])* pub $required: $required_type, )+)?
                $($(
                    $(#[$field_meta])*
                    #[schema(required = false, default = json!(<$field_type as From<$field_type>>::from($default)))]
                    pub $field: $field_type,
                )+)?
            }

            impl $entry {
                #[doc = concat!("`", $name, "` with its defaults.")]
                #[allow(clippy::new_without_default, reason = "Default is for the words that need no field")]
                pub fn new($($($required: $required_type),+)?) -> Self {
                    Self {
                        kind: $tag::$variant,
                        $($($required,)+)?
                        $($($field: $default,)+)?
                    }
                }

                fn read(reader: &mut Reader, value: &serde_json::Value, at: &str) -> Option<Self> {
                    const FIELDS: &[&str] = &["type", $($(stringify!($required),)+)? $($(stringify!($field),)+)?];
                    let bare = serde_json::Value::Object(serde_json::Map::new());
                    let value = if value.is_string() { &bare } else { value };
                    let _fields = reader.object(value, at, FIELDS)?;
                    $($(let $required = reader.required(&_fields, stringify!($required), $required_read as ReadField<$required_type>);)+)?
                    $($(let $field = reader.optional(&_fields, stringify!($field), $read as ReadField<$field_type>);)+)?
                    Some(Self {
                        kind: $tag::$variant,
                        $($($required: $required?,)+)?
                        $($($field: $field.unwrap_or($default),)+)?
                    })
                }
            }

            impl From<$entry> for $spec {
                fn from(entry: $entry) -> Self {
                    Self::$variant(entry)
                }
            }
        )+

        impl $spec {
            /// Every name, as the server writes it.
            pub const NAMES: &[&str] = &[$($name),+];

            /// The name as the server writes it.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }

            /// Reads a name or an object, without regard to the case of names.
            pub fn read(reader: &mut Reader, value: &serde_json::Value, at: &str) -> Option<Self> {
                const NAMES: &[(&str, &str)] = &[$(($name, $name),)+ $($(($alias, $name),)*)+];
                match crate::nn::spec::vocabulary::read_type(reader, value, at, $what, NAMES)? {
                    $($name => $entry::read(reader, value, at).map(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl utoipa::PartialSchema for $spec {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                crate::nn::spec::vocabulary::tagged_schema(&[$(($name, stringify!($entry))),+])
            }
        }

        impl utoipa::ToSchema for $spec {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($spec).into()
            }

            fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>) {
                $(crate::nn::spec::vocabulary::push_schema::<$entry>(schemas);)+
            }
        }

        impl utoipa::PartialSchema for $any {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                crate::nn::spec::vocabulary::name_or_object_schema($spec::NAMES, stringify!($spec))
            }
        }

        impl utoipa::ToSchema for $any {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($any).into()
            }

            fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>) {
                crate::nn::spec::vocabulary::push_schema::<$spec>(schemas);
            }
        }
    };
}

/// Words without fields: an enum whose JSON is the bare name.
macro_rules! names {
    (
        $(#[doc = $doc:literal])+
        $what:literal $enum:ident {
            $( $(#[$meta:meta])* $name:literal $(| $alias:literal)* => $variant:ident, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
        pub enum $enum {
            $( $(#[$meta])* #[serde(rename = $name)] $variant, )+
        }

        impl $enum {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name as the server writes it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Reads a name, without regard to case.
            pub fn read(reader: &mut Reader, value: &serde_json::Value, at: &str) -> Option<Self> {
                const NAMES: &[(&str, $enum)] = &[$(($name, $enum::$variant),)+ $($(($alias, $enum::$variant),)*)+];
                reader.name(value, at, $what, NAMES)
            }
        }

        impl utoipa::PartialSchema for $enum {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let description = concat!($($doc),+).trim_start();
                crate::nn::spec::vocabulary::names_schema(&[$($name),+]).description(Some(description)).into()
            }
        }

        impl utoipa::ToSchema for $enum {}
    };
}

pub(crate) use {names, vocabulary};

/// The `type` of an object, or the bare name, as the canonical name.
pub(crate) fn read_type(
    reader: &mut Reader,
    value: &Value,
    at: &str,
    what: &str,
    names: &[(&str, &'static str)],
) -> Option<&'static str> {
    match value {
        Value::String(_) => reader.name(value, at, what, names),
        Value::Object(object) => match object.get("type") {
            Some(name) => reader.name(name, &super::reader::child(at, "type"), what, names),
            None => {
                reader.fault(
                    super::reader::child(at, "type"),
                    format!("type is required: the name of the {what}"),
                );
                None
            }
        },
        _ => {
            reader.fault(at, format!("must be the name of a {what} or an object with its type"));
            None
        }
    }
}

/// A choice between named object schemas, told apart by `type`.
pub(crate) fn tagged_schema(entries: &[(&str, &str)]) -> RefOr<Schema> {
    let place = |schema: &str| Ref::from_schema_name(schema).ref_location;
    let mapping = entries.iter().map(|(name, schema)| (*name, place(schema)));
    let choice = OneOfBuilder::new().discriminator(Some(Discriminator::with_mapping("type", mapping)));
    let add = |choice: OneOfBuilder, (_, schema): &(&str, &str)| choice.item(Ref::from_schema_name(*schema));
    entries.iter().fold(choice, add).into()
}

/// One of the names.
pub(crate) fn names_schema(names: &[&str]) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(names.iter().copied()))
}

/// One of the names alone, or the object schema. (`anyOf`: some generators can't nest one `oneOf` in another.)
pub(crate) fn name_or_object_schema(names: &[&str], object: &str) -> RefOr<Schema> {
    AnyOfBuilder::new()
        .item(names_schema(names))
        .item(Ref::from_schema_name(object))
        .into()
}

/// Adds a type's schema and those it refers to.
pub(crate) fn push_schema<T: ToSchema + PartialSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    let name: Cow<'static, str> = T::name();
    schemas.push((name.into_owned(), T::schema()));
    T::schemas(schemas);
}
