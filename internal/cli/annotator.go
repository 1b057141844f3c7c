package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/contextual"
	"github.com/llmemory/llmemory/llm"
	"github.com/llmemory/llmemory/llm/anthropic"
	"github.com/llmemory/llmemory/llm/openai"
)

// annotator returns what writes context lines as the settings say, nil for none.
func (a *app) annotator() (llmemory.Annotator, error) {
	o := &a.opts
	if o.contextModel == "" {
		if o.contextBudget != "" || o.contextPrice != "" || o.contextTokens != 0 || o.contextSummaries {
			return nil, usagef("--context-summaries, --context-budget, --context-tokens and --context-price go with --context-model")
		}
		return nil, nil
	}
	price, err := parsePrice(o.contextPrice)
	if err != nil {
		return nil, err
	}
	budget := llm.BudgetOptions{Tokens: o.contextTokens}
	if o.contextBudget != "" {
		if budget.USD, err = strconv.ParseFloat(o.contextBudget, 64); err != nil || !(budget.USD > 0 && budget.USD < 1e9) {
			return nil, usagef("--context-budget %q: must be an amount of US dollars, such as 2.50", o.contextBudget)
		}
	}
	switch {
	case o.contextTokens < 0:
		return nil, usagef("--context-tokens %d: must not be negative", o.contextTokens)
	case o.contextWindow < 0:
		return nil, usagef("--context-window %d: must not be negative", o.contextWindow)
	}
	g, err := a.generator(price)
	if err != nil {
		return nil, err
	}
	if a.language = g.Model(); budget.USD > 0 && a.language.Price == (llm.Price{}) {
		return nil, usagef("--context-budget needs --context-price, as the price of %s is not known here", a.language.Model)
	}
	return contextual.New(llm.Budget(llm.Recommended(g, nil), budget), &contextual.Options{
		Summaries: o.contextSummaries, Window: o.contextWindow,
	}), nil
}

// generator returns the model that --context-model names.
func (a *app) generator(price llm.Price) (llm.Generator, error) {
	kind, model, _ := strings.Cut(a.opts.contextModel, ":")
	needsKey := func(base, variable, flag string) error {
		if a.env(variable) == "" && base == "" && !a.opts.dryRun {
			return usagef("--context-model %s needs %s, or %s for a server of your own", a.opts.contextModel, variable, flag)
		}
		return nil
	}
	switch kind {
	case "openai":
		if err := needsKey(a.opts.baseURL, "OPENAI_API_KEY", "--openai-base-url"); err != nil {
			return nil, err
		}
		c := openai.Config{APIKey: openai.NewSecret(a.env("OPENAI_API_KEY")), BaseURL: a.opts.baseURL, Model: model, Price: price}
		return openai.New(c), contextModelFault(c.Validate())
	case "anthropic":
		if err := needsKey(a.opts.anthropicURL, "ANTHROPIC_API_KEY", "--anthropic-base-url"); err != nil {
			return nil, err
		}
		c := anthropic.Config{APIKey: anthropic.NewSecret(a.env("ANTHROPIC_API_KEY")), BaseURL: a.opts.anthropicURL, Model: model, Price: price}
		return anthropic.New(c), contextModelFault(c.Validate())
	}
	return nil, usagef("--context-model %q: must be openai, openai:MODEL, anthropic or anthropic:MODEL", a.opts.contextModel)
}

func contextModelFault(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{fmt.Errorf("context model: %w", err)}
}

// parsePrice reads a price such as "0.15,0.60" or "0.15,0.075,0.60": input, cached input, output.
func parsePrice(text string) (llm.Price, error) {
	if text == "" {
		return llm.Price{}, nil
	}
	parts := strings.Split(text, ",")
	amounts := make([]float64, len(parts))
	for i, part := range parts {
		amount, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || !(amount >= 0 && amount < 1e9) {
			parts = nil // it is refused below
			break
		}
		amounts[i] = amount
	}
	switch len(parts) {
	case 2:
		return llm.Price{Input: amounts[0], Cached: amounts[0], Output: amounts[1]}, nil
	case 3:
		return llm.Price{Input: amounts[0], Cached: amounts[1], Output: amounts[2]}, nil
	}
	return llm.Price{}, usagef("--context-price %q: must be what a million tokens of input, of cached input and of output cost in US dollars, such as 0.15,0.075,0.60", text)
}

// notes sums up what a run's annotator did, or would do.
type notes struct {
	written, missing int
	usage            llm.Usage
	err              error // the first
}

func (n *notes) add(r *llmemory.Added) {
	n.written += r.Annotated
	n.missing += r.Unannotated
	n.usage.Add(r.Usage)
	if n.err == nil {
		n.err = r.AnnotateErr
	}
}

// tellNotes tells what lines of context took.
func (n *addition) tellNotes() {
	if n.notes.written > 0 {
		n.note("%s of context written: %s", plural(n.notes.written, "line"), n.took(n.notes.usage))
	}
	switch {
	case errors.Is(n.notes.err, context.Canceled): // which is told for all
		n.note("%s without a line of context", plural(n.notes.missing, "passage"))
	case n.notes.err != nil:
		n.note("%s without a line of context: %v", plural(n.notes.missing, "passage"), n.notes.err)
		n.note("they are stored and found all the same; the same command goes on from there")
	case n.notes.missing > 0:
		n.note("%s without a line of context, as the model gave none", plural(n.notes.missing, "passage"))
	}
}

// tellContext tells once what keeps passages from getting lines of context.
func (w *watching) tellContext(n *addition, told bool) {
	if n.notes.err == nil {
		if n.notes.written > 0 {
			w.context = ""
		}
		return
	}
	if text := n.notes.err.Error(); text != w.context {
		w.context = text
		if !told {
			w.note("passages without a line of context: %v", n.notes.err)
			w.note("they are stored and found all the same, and tried again")
		}
	}
}

// plannedNotes tells what lines of context would take.
func (n *addition) plannedNotes() {
	u := n.notes.usage
	if u.Calls == 0 {
		return
	}
	text := fmt.Sprintf("would write %s of context: about %s", plural(n.notes.written, "line"), n.took(u))
	if price := n.language.Price; u.Cached > 0 && price != (llm.Price{}) {
		plain := u
		plain.Cached, plain.Written = 0, 0
		text += fmt.Sprintf(", or $%.4f if nothing is cached", price.Of(plain))
	}
	n.note("%s", text)
}

// took is a usage in words.
func (n *addition) took(u llm.Usage) string {
	text := fmt.Sprintf("%s, %d tokens in (%d cached), %d out", plural(u.Calls, "call"), u.Input, u.Cached, u.Output)
	if price := n.language.Price; price != (llm.Price{}) {
		text += fmt.Sprintf(", $%.4f", price.Of(u))
	}
	return text
}

// noteOutcome says in the ledger why a document that is stored lacks lines of context.
func noteOutcome(r *llmemory.Added) (reason, message string) {
	if r.AnnotateErr == nil || r.Unannotated == 0 {
		return "", ""
	}
	return "no_context", fmt.Sprintf("%s without a line of context: %v", plural(r.Unannotated, "passage"), r.AnnotateErr)
}
