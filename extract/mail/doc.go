// Package mail reads messages: single ones (RFC 5322 with MIME, .eml and files without an extension), mailboxes (mbox and its
// kin), and those that Outlook saves (.msg).
//
// # What a message becomes
//
// The content is what a person reads, as text with the mark-up "email": header lines (From, To, Cc, Date, Subject; decoded, a
// line each), an empty line, the body. Quotations keep their ">", a signature its "-- ". Title is the subject, Author the sender
// as "Name <address>", Date the instant at which it was sent.
//
//	From: Ana Lima <ana@example.com>
//	To: Ben Otte <ben@example.com>
//	Date: Mon, 2 Feb 2026 09:14:00 +0100
//	Subject: Re: Parcel
//
//	It came this morning.
//
//	> Did it arrive?
//
// Of a body that is there twice, as plain text and as HTML, the plain text is taken if it says about as much; else the HTML is
// turned into text, by [Extractor.HTML] where that is set. What a delivery report says for machines, and the header of the
// message it is about, are part of the body. Signatures of PGP and S/MIME are left out, what they sign is read.
//
// Attachments and messages within a message are handed to Input.Part, each with its name, its media type and its content without
// transfer encoding; so are files in the body by uuencode, and those that Exchange has put into winmail.dat (TNEF), whose text is the body
// of a message that has no other. Without Part they are named in Warnings.
//
// A message without a body is its header: there is text in it. So is one with a body that only the receiver can decrypt: who
// wrote when about what can still be found, and a warning says what is missing.
//
// # Broken messages
//
// Mail has been written by everything for fifty years, so this package refuses only what has no header at all. Boundaries that
// are missing or never close, header lines that are none, wrong charsets and encodings, lengths, dates and names are read as most
// mail programs would, and mended things that a reader should know of are in Warnings.
package mail
