package all_test

import (
	"strings"
	"testing"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/all"
)

func TestChats(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file, content string
		want                string
	}{
		{"WhatsApp", "chat.txt", "1/2/26, 10:15 - Messages are encrypted.\n1/2/26, 10:15 - Ana: hi\n1/2/26, 10:16 - Ben: hello\nmore\n1/2/26, 10:17 - Ana: x\n1/2/26, 10:18 - Ben: y\n", "chat"},
		{"WhatsApp of another system", "_chat.txt", "[02.01.26, 10:15:01] Ana: hi\r\n[02.01.26, 10:15:09] Ben: hello\r\n\u200e[02.01.26, 10:15:20] Ana: x\r\n[02.01.26, 10:16:01] Ben: y\r\n", "chat"},
		{"IRC", "irc.log", "10:15 <ana> hi\n10:16 <@ben> hello\n10:17 -!- cy joined\n10:18 <ana> x\n10:18 <ben> y\n", "chat"},
		{"IRC without times", "", "<ana> hi\n<ben> hello\n<ana> x\n<ben> y\n", "chat"},
		{"Slack", "paste.txt", "Ana Lima  10:15 AM\nhi\nBen Otte  10:16 AM\nhello\nAna Lima  10:17 AM\nx\nBen Otte  10:19 AM\ny\n", "chat"},
		{"captions", "talk.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ana>hi\n", "chat"},
		{"captions of the other kind", "talk.srt", "1\n00:00:01,000 --> 00:00:02,000\nhi\n", "chat"},
		{"a log", "app.log", "2026-01-02 10:15:33 INFO: started\n2026-01-02 10:15:34 WARN: slow\n2026-01-02 10:15:35 INFO: x\n2026-01-02 10:15:36 WARN: y\n", "text"},
		{"a log of programs", "app.log", "10:15:33 sshd: started\n10:15:34 cron: slow\n10:15:35 sshd: x\n10:15:36 cron: y\n", "text"},
		{"a log of fractions", "app.log", "10:15:33.123 Server: started\n10:15:34.123 Client: slow\n10:15:35.000 Server: x\n10:15:36.100 Client: y\n", "text"},
		{"minutes", "minutes.txt", "10:15 Opening: by Ana\n10:30 Budget: by Ben\n11:00 Elections: by Cy\n12:00 Closing: by all\n", "text"},
		{"a play", "play.txt", "Ana: hi\nBen: hello\nAna: x\nBen: y\n", "text"},
		{"HTML in text", "notes.txt", "<ana> hi </ana>\n<b> hello </b>\n", "text"},
		{"Markdown", "notes.md", "10:15 <ana> hi\n10:16 <ben> hello\n10:18 <ana> x\n10:18 <ben> y\n", "markdown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := all.Extractor{}.Extract(t.Context(), extract.Input{Reader: strings.NewReader(tt.content), Name: tt.file})
			if err != nil || got.Type != tt.want || (got.Markup == "chat") != (tt.want == "chat") || got.Content != tt.content {
				t.Errorf("%+v %v, want %s", got, err, tt.want)
			}
		})
	}
}
