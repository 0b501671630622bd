//! Every metric of weir: the closed list of names, labels and help texts.
