// Command peer is a workload written with go-spiffe alone. It walks through what
// a Go service does with the Workload API and prints one JSON line a step, so
// that the interop tests can compare what each client library saw.
//
// usage: peer SOCKET-URI AUDIENCE UPDATES
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: peer SOCKET-URI AUDIENCE UPDATES")
		os.Exit(2)
	}
	updates, err := strconv.Atoi(os.Args[3])
	check("arguments", err)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(os.Args[1]))
	check("connect", err)
	defer client.Close()
	x509(ctx, client)
	jwt(ctx, client, os.Args[2])
	watch(ctx, client, updates)
}

func x509(ctx context.Context, client *workloadapi.Client) {
	svid, err := client.FetchX509SVID(ctx)
	check("x509", err)
	say("x509", svid.ID.String(), svid.Certificates[0].SerialNumber.Text(16))
	bundles, err := client.FetchX509Bundles(ctx)
	check("bundles", err)
	bundle, err := bundles.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
	check("bundles", err)
	say("bundles", svid.ID.TrustDomain().Name(), strconv.Itoa(len(bundle.X509Authorities())))
}

func jwt(ctx context.Context, client *workloadapi.Client, audience string) {
	svid, err := client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
	check("jwt", err)
	say("jwt", svid.ID.String(), audience)
	bundles, err := client.FetchJWTBundles(ctx)
	check("jwt-bundles", err)
	_, err = jwtsvid.ParseAndValidate(svid.Marshal(), bundles, []string{audience})
	check("jwt-offline", err)
	valid, err := client.ValidateJWTSVID(ctx, svid.Marshal(), audience)
	check("validate", err)
	say("validate", valid.ID.String(), audience)
	if _, err := client.ValidateJWTSVID(ctx, svid.Marshal(), "another-audience"); err == nil {
		check("validate-other", fmt.Errorf("accepted for an audience it was not made for"))
	} else {
		say("validate-other", "refused", "")
	}
}

type watcher struct {
	left int
	done chan error
}

func (w *watcher) OnX509ContextUpdate(c *workloadapi.X509Context) {
	if w.left > 0 {
		svid := c.DefaultSVID()
		say("watch", svid.ID.String(), svid.Certificates[0].SerialNumber.Text(16))
		if w.left--; w.left == 0 {
			w.done <- nil
		}
	}
}

func (w *watcher) OnX509ContextWatchError(err error) {
	fmt.Fprintln(os.Stderr, "watch:", err)
}

func watch(ctx context.Context, client *workloadapi.Client, updates int) {
	w := &watcher{left: updates, done: make(chan error, 1)}
	go func() { _ = client.WatchX509Context(ctx, w) }()
	select {
	case err := <-w.done:
		check("watch", err)
	case <-ctx.Done():
		check("watch", ctx.Err())
	}
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
