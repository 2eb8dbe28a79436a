import io.spiffe.bundle.x509bundle.X509Bundle;
import io.spiffe.svid.jwtsvid.JwtSvid;
import io.spiffe.svid.x509svid.X509Svid;
import io.spiffe.workloadapi.DefaultWorkloadApiClient;
import io.spiffe.workloadapi.Watcher;
import io.spiffe.workloadapi.WorkloadApiClient;
import io.spiffe.workloadapi.X509Context;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * A workload written with java-spiffe alone (grpc-java). It walks through what a Java service does
 * with the Workload API and prints one JSON line a step, so that the interop tests can compare what
 * each library saw.
 *
 * <p>usage: Peer SOCKET-URI AUDIENCE UPDATES
 */
public final class Peer {
  private Peer() {}

  public static void main(String[] args) throws Exception {
    if (args.length != 3) {
      System.err.println("usage: Peer SOCKET-URI AUDIENCE UPDATES");
      System.exit(2);
    }
    var options =
        DefaultWorkloadApiClient.ClientOptions.builder().spiffeSocketPath(args[0]).build();
    try (WorkloadApiClient client = DefaultWorkloadApiClient.newClient(options)) {
      x509(client);
      jwt(client, args[1]);
      watch(client, Integer.parseInt(args[2]));
    }
    System.exit(0);
  }

  private static void x509(WorkloadApiClient client) throws Exception {
    X509Context context = client.fetchX509Context();
    X509Svid svid = context.getDefaultSvid();
    say("x509", svid.getSpiffeId().toString(), serial(svid));
    X509Bundle bundle =
        context.getX509BundleSet().getBundleForTrustDomain(svid.getSpiffeId().getTrustDomain());
    say(
        "bundles",
        svid.getSpiffeId().getTrustDomain().getName(),
        Integer.toString(bundle.getX509Authorities().size()));
  }

  private static void jwt(WorkloadApiClient client, String audience) throws Exception {
    JwtSvid svid = client.fetchJwtSvid(audience);
    say("jwt", svid.getSpiffeId().toString(), audience);
    client.fetchJwtBundles();
    JwtSvid valid = client.validateJwtSvid(svid.getToken(), audience);
    say("validate", valid.getSpiffeId().toString(), audience);
    boolean accepted = true;
    try {
      client.validateJwtSvid(svid.getToken(), "another-audience");
    } catch (Exception refused) {
      accepted = false;
    }
    if (accepted) {
      System.err.println("validate-other: accepted for an audience it was not made for");
      System.exit(1);
    }
    say("validate-other", "refused", "");
  }

  private static void watch(WorkloadApiClient client, int updates) throws Exception {
    var left = new CountDownLatch(updates);
    client.watchX509Context(
        new Watcher<X509Context>() {
          @Override
          public void onUpdate(X509Context context) {
            if (left.getCount() > 0) {
              X509Svid svid = context.getDefaultSvid();
              say("watch", svid.getSpiffeId().toString(), serial(svid));
              left.countDown();
            }
          }

          @Override
          public void onError(Throwable error) {
            System.err.println("watch: " + error);
          }
        });
    if (!left.await(60, TimeUnit.SECONDS)) {
      System.err.println("watch: not enough updates within a minute");
      System.exit(1);
    }
  }

  private static String serial(X509Svid svid) {
    return svid.getLeaf().getSerialNumber().toString(16);
  }

  private static void say(String step, String id, String detail) {
    System.out.printf("{\"step\":\"%s\",\"id\":\"%s\",\"detail\":\"%s\"}%n", step, id, detail);
  }
}
