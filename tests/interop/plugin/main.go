// A workload attestor as somebody outside this project would write one: on SPIRE's
// plug-in kit, knowing nothing of Bulla. Files named in its configuration tell it
// to misbehave.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/hashicorp/hcl"
	"github.com/spiffe/spire-plugin-sdk/pluginmain"
	workloadattestorv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/plugin/agent/workloadattestor/v1"
	configv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/service/common/config/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type config struct {
	Row       string `hcl:"row"`
	CrashFile string `hcl:"crash_file"`
	HangFile  string `hcl:"hang_file"`
	BadFile   string `hcl:"bad_file"`
}

type plugin struct {
	workloadattestorv1.UnimplementedWorkloadAttestorServer
	configv1.UnimplementedConfigServer

	mutex       sync.Mutex
	config      *config
	trustDomain string
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return path != "" && err == nil
}

func (p *plugin) Configure(_ context.Context, request *configv1.ConfigureRequest) (*configv1.ConfigureResponse, error) {
	config := new(config)
	if err := hcl.Decode(config, request.HclConfiguration); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "not HCL: %v", err)
	}
	if config.Row == "" {
		return nil, status.Error(codes.InvalidArgument, "row is missing")
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.config, p.trustDomain = config, request.CoreConfiguration.TrustDomain
	return &configv1.ConfigureResponse{}, nil
}

func (p *plugin) Attest(ctx context.Context, request *workloadattestorv1.AttestRequest) (*workloadattestorv1.AttestResponse, error) {
	p.mutex.Lock()
	config, trustDomain := p.config, p.trustDomain
	p.mutex.Unlock()
	if exists(config.CrashFile) {
		os.Exit(7)
	}
	if exists(config.HangFile) {
		<-ctx.Done()
		select {}
	}
	if exists(config.BadFile) {
		return &workloadattestorv1.AttestResponse{SelectorValues: []string{"row:7\nunix:uid:0"}}, nil
	}
	// More than a pipe holds: whoever starts a plug-in has to read what it prints.
	fmt.Println(strings.Repeat("x", 128*1024))
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", request.Pid))
	if err != nil {
		return nil, status.Errorf(codes.Internal, "no such process: %v", err)
	}
	return &workloadattestorv1.AttestResponse{SelectorValues: []string{
		"row:" + config.Row,
		"trust_domain:" + trustDomain,
		"comm:" + strings.TrimSpace(string(name)),
	}}, nil
}

func main() {
	p := new(plugin)
	pluginmain.Serve(
		workloadattestorv1.WorkloadAttestorPluginServer(p),
		configv1.ConfigServiceServer(p),
	)
}
