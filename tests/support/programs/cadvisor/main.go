// The command of cAdvisor, whose own is in no module that the proxy of Go has: its manager, its docker plugin and its
// Prometheus collector, as they are, on an address.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/google/cadvisor/cache/memory"
	"github.com/google/cadvisor/container"
	_ "github.com/google/cadvisor/container/docker/install"
	v2 "github.com/google/cadvisor/info/v2"
	"github.com/google/cadvisor/manager"
	"github.com/google/cadvisor/metrics"
	"github.com/google/cadvisor/utils/sysfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/utils/clock"
)

func main() {
	address := flag.String("listen", "127.0.0.1:8080", "where /metrics is served")
	flag.Parse()
	interval, dynamic := time.Second, false
	included := container.MetricSet{
		container.CpuUsageMetrics:     {},
		container.MemoryUsageMetrics:  {},
		container.DiskIOMetrics:       {},
		container.NetworkUsageMetrics: {},
		container.ProcessMetrics:      {},
	}
	housekeeping := manager.HousekeepingConfig{Interval: &interval, AllowDynamic: &dynamic}
	found, err := manager.New(memory.New(time.Minute, nil), sysfs.NewRealSysFs(), housekeeping, included,
		http.DefaultClient, nil, nil, "", 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := found.Start(); err != nil {
		log.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	options := v2.RequestOptions{IdType: v2.TypeName, Count: 1, Recursive: true}
	registry.MustRegister(metrics.NewPrometheusCollector(found, nil, included, clock.RealClock{}, options))
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	log.Fatal(http.ListenAndServe(*address, nil))
}
