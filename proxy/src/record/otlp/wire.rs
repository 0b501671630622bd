//! The subset of the Protocol Buffers wire format (protobuf.dev, "Encoding") that spans need: fields are appended
//! directly to a buffer.

/// A message that is being written.
pub(in crate::record) struct ProtoMessage<'a>(&'a mut Vec<u8>);

/// How a field's value is written.
#[derive(Clone, Copy)]
enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

/// A value of an attribute: OpenTelemetry's `AnyValue`.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) enum AttributeValue<'a> {
    Text(&'a str),
    Flag(bool),
    Integer(u64),
    Number(f64),
    Texts(&'a [&'a str]),
}

impl<'a> ProtoMessage<'a> {
    /// A message that is written to `out`.
    pub(in crate::record) fn new(out: &'a mut Vec<u8>) -> Self {
        ProtoMessage(out)
    }

    fn key(&mut self, field: u32, wire: WireType) {
        self.varint(u64::from(field << 3) | wire as u64);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(in crate::record) fn integer(&mut self, field: u32, value: u64) {
        self.key(field, WireType::Varint);
        self.varint(value);
    }

    pub(in crate::record) fn fixed64(&mut self, field: u32, value: u64) {
        self.key(field, WireType::Fixed64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(in crate::record) fn fixed32(&mut self, field: u32, value: u32) {
        self.key(field, WireType::Fixed32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(in crate::record) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.key(field, WireType::Bytes);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(in crate::record) fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// Fields that are already encoded.
    pub(in crate::record) fn raw(&mut self, fields: &[u8]) {
        self.0.extend_from_slice(fields);
    }

    /// A nested message. Its length prefix is known only when it is complete, and is then rotated into place.
    pub(in crate::record) fn message(
        &mut self,
        field: u32,
        write: impl FnOnce(&mut ProtoMessage<'_>),
    ) {
        self.key(field, WireType::Bytes);
        let start = self.0.len();
        write(&mut ProtoMessage(self.0));
        let end = self.0.len();
        self.varint((end - start) as u64);
        let length_bytes = self.0.len() - end;
        self.0[start..].rotate_right(length_bytes);
    }

    /// An attribute: OpenTelemetry's `KeyValue`.
    pub(in crate::record) fn attribute(
        &mut self,
        field: u32,
        key: &str,
        value: AttributeValue<'_>,
    ) {
        self.message(field, |pair| {
            pair.text(1, key);
            pair.message(2, |any| any.value(value));
        });
    }

    fn value(&mut self, value: AttributeValue<'_>) {
        match value {
            AttributeValue::Text(text) => self.text(1, text),
            AttributeValue::Flag(flag) => self.integer(2, flag.into()),
            AttributeValue::Integer(number) => self.integer(3, number),
            AttributeValue::Number(number) => self.fixed64(4, number.to_bits()),
            AttributeValue::Texts(texts) => self.message(5, |array| {
                for text in texts {
                    array.message(1, |any| any.text(1, text));
                }
            }),
        }
    }
}
