// cAdvisor: its manager, its factory of docker's containers and its metrics, as its own command puts them together
// (that command is a module of its own, which module proxies do not have).
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/google/cadvisor/cache/memory"
	"github.com/google/cadvisor/container"
	_ "github.com/google/cadvisor/container/docker/install"
	info "github.com/google/cadvisor/info/v2"
	"github.com/google/cadvisor/manager"
	"github.com/google/cadvisor/metrics"
	"github.com/google/cadvisor/utils/sysfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/utils/clock"
)

func main() {
	flag.Parse()
	interval, dynamic := time.Second, false
	wanted := container.MetricSet{
		container.CpuUsageMetrics: struct{}{}, container.MemoryUsageMetrics: struct{}{},
		container.NetworkUsageMetrics: struct{}{}, container.DiskUsageMetrics: struct{}{},
	}
	observed, err := manager.New(
		memory.New(time.Minute, nil), sysfs.NewRealSysFs(),
		manager.HousekeepingConfig{Interval: &interval, AllowDynamic: &dynamic},
		wanted, http.DefaultClient, nil, nil, "", 0,
	)
	if err != nil {
		log.Fatal(err)
	}
	if err := observed.Start(); err != nil {
		log.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	options := info.RequestOptions{IdType: info.TypeName, Count: 1, Recursive: true}
	registry.MustRegister(metrics.NewPrometheusCollector(observed, nil, wanted, clock.RealClock{}, options))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s/metrics\n", listener.Addr())
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	log.Fatal(http.Serve(listener, nil))
}
