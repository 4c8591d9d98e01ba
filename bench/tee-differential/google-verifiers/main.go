// Asks go-tdx-guest and go-sev-guest about evidence: one JSON object a line on standard input, one answer a line on standard
// output, in the same order. Reads no network: collateral is what the line brings.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	sevabi "github.com/google/go-sev-guest/abi"
	sevpb "github.com/google/go-sev-guest/proto/sevsnp"
	sevverify "github.com/google/go-sev-guest/verify"
	tdxabi "github.com/google/go-tdx-guest/abi"
	tdxverify "github.com/google/go-tdx-guest/verify"
)

type request struct {
	Kind string `json:"kind"`
	// Unix seconds to judge at.
	AtSeconds int64 `json:"atSeconds"`
	// A quote or a report.
	Evidence []byte `json:"evidence"`
	// TDX: by the part of the address that Intel's service would be asked at; Header as Intel sends it.
	Collateral []resource `json:"collateral"`
	// Whether revocation lists are there to be checked.
	Revocations bool `json:"revocations"`
	// SNP: the VCEK, DER.
	Certificate []byte `json:"certificate"`
}

type resource struct {
	Match  string            `json:"match"`
	Header map[string]string `json:"header"`
	Body   []byte            `json:"body"`
}

type answer struct {
	Accepted bool   `json:"accepted"`
	Error    string `json:"error"`
}

// getter serves the collateral of a request instead of a network.
type getter struct{ resources []resource }

func (g getter) Get(url string) (map[string][]string, []byte, error) {
	for _, each := range g.resources {
		if strings.Contains(strings.ToLower(url), strings.ToLower(each.Match)) {
			header := map[string][]string{}
			for name, value := range each.Header {
				header[name] = []string{value}
			}
			return header, each.Body, nil
		}
	}
	return nil, nil, errors.New("no such collateral")
}

func verifyTdx(r request) error {
	quote, err := tdxabi.QuoteToProto(r.Evidence)
	if err != nil {
		return err
	}
	return tdxverify.TdxQuote(quote, &tdxverify.Options{
		CheckRevocations: r.Revocations,
		GetCollateral:    true,
		Getter:           getter{r.Collateral},
		Now:              time.Unix(r.AtSeconds, 0),
	})
}

func verifySnp(r request) error {
	report, err := sevabi.ReportToProto(r.Evidence)
	if err != nil {
		return err
	}
	attestation := &sevpb.Attestation{
		Report:           report,
		CertificateChain: &sevpb.CertificateChain{VcekCert: r.Certificate},
	}
	product := &sevpb.SevProduct{Name: sevpb.SevProduct_SEV_PRODUCT_MILAN}
	return sevverify.SnpAttestation(attestation, &sevverify.Options{
		DisableCertFetching: true,
		Now:                 time.Unix(r.AtSeconds, 0),
		Product:             product,
	})
}

func judge(r request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if r.Kind == "snp" {
		return verifySnp(r)
	}
	return verifyTdx(r)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<26)
	// Loggers of the verifiers write to standard output whenever they like: the answers wait until all are there.
	var answers [][]byte
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		a := answer{Accepted: true}
		if err := judge(r); err != nil {
			a = answer{Error: err.Error()}
		}
		line, _ := json.Marshal(a)
		answers = append(answers, line)
	}
	os.Stdout.WriteString("\n")
	for _, line := range answers {
		os.Stdout.Write(append(line, '\n'))
	}
}
