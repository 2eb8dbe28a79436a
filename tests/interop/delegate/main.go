// Command delegate is a node proxy written with spire-api-sdk alone: it fetches,
// on an agent's admin socket, the identities of another workload, and prints one
// JSON line a step, so that the interop tests can compare agents.
//
// usage: delegate ADMIN-SOCKET PID SELECTOR AUDIENCE UPDATES
package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	debugv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/agent/debug/v1"
	delegatedv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/agent/delegatedidentity/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: delegate ADMIN-SOCKET PID SELECTOR AUDIENCE UPDATES")
		os.Exit(2)
	}
	pid, err := strconv.Atoi(os.Args[2])
	check("arguments", err)
	updates, err := strconv.Atoi(os.Args[5])
	check("arguments", err)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	conn, err := grpc.NewClient("unix://"+os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	check("connect", err)
	defer conn.Close()
	info, err := debugv1.NewDebugClient(conn).GetInfo(ctx, &debugv1.GetInfoRequest{})
	check("info", err)
	say("info", idOf(info.SvidChain[0].Id), info.SvidChain[0].Subject)

	d := delegate{ctx, delegatedv1.NewDelegatedIdentityClient(conn)}
	kind, value, _ := strings.Cut(os.Args[3], ":")
	known := []*types.Selector{{Type: kind, Value: value}}
	d.x509("x509-by-selectors", &delegatedv1.SubscribeToX509SVIDsRequest{Selectors: known}, 1)
	d.x509("x509-by-pid", &delegatedv1.SubscribeToX509SVIDsRequest{Pid: int32(pid)}, 1)
	d.x509("both", &delegatedv1.SubscribeToX509SVIDsRequest{Pid: int32(pid), Selectors: known}, 1)
	d.x509("neither", &delegatedv1.SubscribeToX509SVIDsRequest{}, 1)
	nobody := []*types.Selector{{Type: "unix", Value: "uid:4000000000"}}
	d.x509("nobody", &delegatedv1.SubscribeToX509SVIDsRequest{Selectors: nobody}, 1)
	d.x509bundles()
	keys := d.jwtbundles()
	audience := []string{os.Args[4]}
	d.jwt("jwt-by-selectors", &delegatedv1.FetchJWTSVIDsRequest{Audience: audience, Selectors: known}, keys)
	d.jwt("jwt-by-pid", &delegatedv1.FetchJWTSVIDsRequest{Audience: audience, Pid: int32(pid)}, keys)
	d.jwt("jwt-nobody", &delegatedv1.FetchJWTSVIDsRequest{Audience: audience, Selectors: nobody}, keys)
	d.jwt("jwt-no-audience", &delegatedv1.FetchJWTSVIDsRequest{Selectors: known}, keys)
	d.x509("watch", &delegatedv1.SubscribeToX509SVIDsRequest{Pid: int32(pid)}, updates)
}

type delegate struct {
	ctx    context.Context
	client delegatedv1.DelegatedIdentityClient
}

// x509 prints one line for each update: the IDs, and the serial of the first.
func (d delegate) x509(step string, request *delegatedv1.SubscribeToX509SVIDsRequest, updates int) {
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	stream, err := d.client.SubscribeToX509SVIDs(ctx, request)
	check(step, err)
	for ; updates > 0; updates-- {
		update, err := stream.Recv()
		if err != nil {
			refused(step, err)
			return
		}
		var ids []string
		serial := ""
		for _, svid := range update.X509Svids {
			leaf, err := x509.ParseCertificate(svid.X509Svid.CertChain[0])
			check(step, err)
			key, err := x509.ParsePKCS8PrivateKey(svid.X509SvidKey)
			check(step, err)
			public := key.(crypto.Signer).Public().(interface{ Equal(crypto.PublicKey) bool })
			if !public.Equal(leaf.PublicKey) {
				check(step, fmt.Errorf("the key is of another certificate"))
			}
			if leaf.URIs[0].String() != idOf(svid.X509Svid.Id) || leaf.NotAfter.Unix() != svid.X509Svid.ExpiresAt {
				check(step, fmt.Errorf("the message is about another certificate"))
			}
			ids = append(ids, idOf(svid.X509Svid.Id))
			if serial == "" {
				serial = leaf.SerialNumber.Text(16)
			}
		}
		say(step, strings.Join(ids, " "), serial)
	}
}

func (d delegate) x509bundles() {
	stream, err := d.client.SubscribeToX509Bundles(d.ctx, &delegatedv1.SubscribeToX509BundlesRequest{})
	check("bundles", err)
	update, err := stream.Recv()
	if err != nil {
		refused("bundles", err)
		return
	}
	var names []string
	for name, der := range update.CaCertificates {
		_, err := x509.ParseCertificates(der)
		check("bundles", err)
		names = append(names, name)
	}
	sort.Strings(names)
	say("bundles", strings.Join(names, " "), "")
}

func (d delegate) jwtbundles() *jwtbundle.Set {
	keys := jwtbundle.NewSet()
	stream, err := d.client.SubscribeToJWTBundles(d.ctx, &delegatedv1.SubscribeToJWTBundlesRequest{})
	check("jwt-bundles", err)
	update, err := stream.Recv()
	if err != nil {
		refused("jwt-bundles", err)
		return keys
	}
	var names []string
	for name, document := range update.Bundles {
		bundle, err := jwtbundle.Parse(spiffeid.RequireTrustDomainFromString(name), document)
		check("jwt-bundles", err)
		keys.Add(bundle)
		names = append(names, name)
	}
	sort.Strings(names)
	say("jwt-bundles", strings.Join(names, " "), "")
	return keys
}

func (d delegate) jwt(step string, request *delegatedv1.FetchJWTSVIDsRequest, keys *jwtbundle.Set) {
	answer, err := d.client.FetchJWTSVIDs(d.ctx, request)
	if err != nil {
		refused(step, err)
		return
	}
	var ids []string
	for _, svid := range answer.Svids {
		token, err := jwtsvid.ParseAndValidate(svid.Token, keys, request.Audience)
		check(step, err)
		if token.ID.String() != idOf(svid.Id) || token.Expiry.Unix() != svid.ExpiresAt || svid.IssuedAt == 0 {
			check(step, fmt.Errorf("the message is about another token"))
		}
		ids = append(ids, token.ID.String())
	}
	say(step, strings.Join(ids, " "), "")
}

func idOf(id *types.SPIFFEID) string {
	return "spiffe://" + id.TrustDomain + id.Path
}

// refused prints what an agent answered instead.
func refused(step string, err error) {
	say(step, status.Code(err).String(), status.Convert(err).Message())
}

func say(step, id, detail string) {
	line, err := json.Marshal(map[string]string{"step": step, "id": id, "detail": detail})
	check(step, err)
	fmt.Println(string(line))
}

func check(step string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", step, err)
		os.Exit(1)
	}
}
