//! The wire format of Protocol Buffers (protobuf.dev, "Encoding"), as far as spans need it: fields are appended
//! to a buffer directly.

/// A message that is being written.
pub(in crate::record) struct Message<'a>(&'a mut Vec<u8>);

/// How a field's value is written.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

/// A value of an attribute: OpenTelemetry's `AnyValue`.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) enum Value<'a> {
    Text(&'a str),
    Flag(bool),
    Integer(u64),
    Number(f64),
    Texts(&'a [&'a str]),
}

impl<'a> Message<'a> {
    /// The message that `out` is filled with.
    pub(in crate::record) fn new(out: &'a mut Vec<u8>) -> Self {
        Message(out)
    }

    fn key(&mut self, field: u32, wire: Wire) {
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
        self.key(field, Wire::Varint);
        self.varint(value);
    }

    pub(in crate::record) fn fixed64(&mut self, field: u32, value: u64) {
        self.key(field, Wire::Fixed64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(in crate::record) fn fixed32(&mut self, field: u32, value: u32) {
        self.key(field, Wire::Fixed32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(in crate::record) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.key(field, Wire::Bytes);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(in crate::record) fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// Fields that have been written already.
    pub(in crate::record) fn raw(&mut self, fields: &[u8]) {
        self.0.extend_from_slice(fields);
    }

    /// A nested message. Its length precedes it, and is known only when it is complete.
    pub(in crate::record) fn message(&mut self, field: u32, write: impl FnOnce(&mut Message<'_>)) {
        self.key(field, Wire::Bytes);
        let start = self.0.len();
        write(&mut Message(self.0));
        let end = self.0.len();
        self.varint((end - start) as u64);
        let length_bytes = self.0.len() - end;
        self.0[start..].rotate_right(length_bytes);
    }

    /// An attribute: OpenTelemetry's `KeyValue`.
    pub(in crate::record) fn attribute(&mut self, field: u32, key: &str, value: Value<'_>) {
        self.message(field, |pair| {
            pair.text(1, key);
            pair.message(2, |any| any.value(value));
        });
    }

    fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Text(text) => self.text(1, text),
            Value::Flag(flag) => self.integer(2, flag.into()),
            Value::Integer(number) => self.integer(3, number),
            Value::Number(number) => self.fixed64(4, number.to_bits()),
            Value::Texts(texts) => self.message(5, |array| {
                for text in texts {
                    array.message(1, |any| any.text(1, text));
                }
            }),
        }
    }
}
